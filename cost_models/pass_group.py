"""PassGroup: a group with certain chains split off, what its passes need and what they move."""

from __future__ import annotations

from functools import cached_property
from itertools import pairwise
from typing import TYPE_CHECKING

from tvm_fusion.cost_models.pass_division import divide
from tvm_fusion.graph.graph import members

if TYPE_CHECKING:
    from tvm_fusion.cost_models.multi_pass import MultiPassModel


class PassGroup:
    """Costs of one division into passes. Operators whose weights are kept throughout are given as a mask.

    Weights that are not kept are loaded for the pass that uses them; with ``shared`` they stay if the next pass (that
    of the next image after the last one) uses them too. All bytes are for the whole batch.
    """

    def __init__(self, model: MultiPassModel, mask: int, heads: int, shared: bool = True) -> None:
        self.model, self.mask, self.heads, self.shared = model, mask, heads, shared
        self.passes = divide(model.chains, mask, heads)
        self.batch = model.graph.batch

    @cached_property
    def input_bytes(self) -> int:
        """Every tensor from outside, once for every pass that reads it; scales at hand are none."""
        sizes = self.model.sizes
        outside = (t for p in self.passes for t in sizes.outside_inputs(p.executed) if t < 0 or not self.mask >> t & 1)
        return sum(sizes.tensor_bytes[t] for t in outside)

    @cached_property
    def output_bytes(self) -> int:
        """Every tensor needed outside, once."""
        sizes = self.model.sizes
        return sum(sizes.tensor_bytes[t] for t in sizes.outputs(self.mask))

    @cached_property
    def least_dram_bytes(self) -> int:
        """DRAM bytes if every weight is loaded once."""
        return self.input_bytes + self.output_bytes + self.model.sizes.weights(self.mask)

    @cached_property
    def lower_bound_bytes(self) -> int:
        """Bytes on chip that the passes need at least, found without an execution."""
        return max(self.model.bound.least_bytes(p.executed) for p in reversed(self.passes))

    @cached_property
    def line_bytes(self) -> list[int]:
        """Line buffers of every pass, and the scales that it holds for later ones."""
        sizes, found = self.model.sizes, []
        for p in self.passes:
            held = sum(sizes.line_bytes(t, 1) for t in members(p.held))
            found.append(held + self.model.line_bytes(p.executed, p.results))
        return found

    def requirement_bytes(self, kept: int) -> int:
        """The pass that needs most: its line buffers, its weights and those kept."""
        weights = self.model.sizes.weights
        needed = (lines + weights(p.executed | kept) for lines, p in zip(self.line_bytes, self.passes, strict=True))
        return max(needed)

    def dram_bytes(self, kept: int) -> int:
        """Everything that moves."""
        return self.input_bytes + self.output_bytes + self.moved_weight_bytes(kept)

    def moved_weight_bytes(self, kept: int) -> int:
        """Weights: kept ones once, others whenever they are loaded."""
        weights = self.model.sizes.weights
        if not self.loaded_again & ~kept:
            return weights(self.mask)
        first, later = self._loaded
        moved = weights(kept) + sum(weights(loaded & ~kept) for loaded in first)
        return moved + (self.batch - 1) * sum(weights(loaded & ~kept) for loaded in later)

    def loads(self, i: int) -> int:
        """How often the weights of an operator are loaded if they are not kept."""
        first, later = self._loaded
        return sum(m >> i & 1 for m in first) + (self.batch - 1) * sum(m >> i & 1 for m in later)

    @cached_property
    def loaded_again(self) -> int:
        """Operators whose weights are loaded more than once unless they are kept."""
        first, later = self._loaded
        once = again = 0
        for loaded in (*first, *later) if self.batch > 1 else first:
            again |= once & loaded
            once |= loaded
        return again

    @cached_property
    def _loaded(self) -> tuple[list[int], list[int]]:
        """Operators whose weights each pass loads, kept ones aside: in the first image, and in a later one."""
        used = [p.executed for p in self.passes]
        if not self.shared:
            return used, used
        gaps = [now & ~before for before, now in pairwise(used)]
        return [used[0], *gaps], [used[0] & ~used[-1], *gaps]

    def recomputed_macs(self) -> int:
        """MACs beyond once of every row, for the whole batch."""
        total = 0
        graph, model = self.model.graph, self.model.lines
        made: dict[int, list[int]] = {}
        for p in self.passes:
            for i, rows in model.made_rows(p.executed, set(members(p.results))).items():
                made.setdefault(i, []).append(rows)
        for i, rows_of_passes in made.items():
            again = sum(rows_of_passes) - max(rows_of_passes)
            op = graph.operators[i]
            total += op.batch * op.macs * again // op.height
        return total
