"""BandGroup: the facts of one group that executes in bands, and what numbers of bands need and move."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from tvm_fusion.cost_models.band_spans import Bands, Rows
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import members

if TYPE_CHECKING:
    from tvm_fusion.cost_models.bands import BandModel


class BandGroup:
    """The tensors of a group, and when each of them is on chip."""

    def __init__(self, model: BandModel, mask: int) -> None:
        graph, sizes = model.graph, model.sizes
        if mask <= 0 or mask >> len(graph):
            last = len(graph) - 1
            raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {last}, at least one")
        self.model, self.graph, self.sizes, self.mask = model, graph, sizes, mask
        self.buffer_bytes = model.accelerator.buffer_bytes
        self.inside = list(members(mask))
        self.inputs = sizes.outside_inputs(mask)
        self.outputs = sizes.outputs(mask)
        successors = graph.successor_masks
        self.results = {i for i in self.inside if not successors[i] & mask} | set(self.outputs)
        self.tallest = max(sorted(self.results), key=model.spans.height.__getitem__)
        # Tensors that appear before an operator runs (those from outside first), and that go after it.
        self.appear: dict[int, list[int]] = {i: [] for i in self.inside}
        self.go: dict[int, list[int]] = {i: [] for i in self.inside}
        for t in self.inputs:
            readers = [c for c in graph.consumers[t] if mask >> c & 1]
            self.appear[readers[0]].append(t)
            self.go[readers[-1]].append(t)
        for i in self.inside:
            self.appear[i].append(i)
            self.go[max((successors[i] & mask).bit_length() - 1, i)].append(i)
        self.input_bytes, self.output_bytes = sizes.boundary_bytes(mask)
        self.weight_bytes = sizes.weights(mask)
        self.weighted = [i for i in self.inside if sizes.weight_bytes[i]]

    @property
    def height(self) -> int:
        """Rows of the tallest result: the most bands that make sense."""
        return self.model.spans.height[self.tallest]

    def alive(self, held: Mapping[int, Rows]) -> Iterator[tuple[int, Rows]]:
        """Every operator, with the bytes on chip while it runs if of each tensor ``held`` bytes are there.

        The array is the same one each time, and changes.
        """
        now = np.zeros_like(next(iter(held.values())))
        for i in self.inside:
            for t in self.appear[i]:
                now += held[t]
            yield i, now
            for t in self.go[i]:
                now -= held[t]

    def loaded_bytes(self, tensor: int, rows: Rows) -> Rows:
        """DRAM bytes of ``rows`` rows of a tensor, for the whole batch; there they lie close together."""
        return self.graph.tensor(tensor).batch * -(-rows * self.sizes.row_bits[tensor] // 8)

    def streamed_weight_bytes(self, counts: Rows, kept_bytes: Rows | int) -> Rows:
        """DRAM bytes of all weights if ``kept_bytes`` of them are kept: the others pass for each band and image."""
        return kept_bytes + counts * self.graph.batch * (self.weight_bytes - kept_bytes)

    def moved_bytes(self, counts: Rows, input_bytes: Rows, kept_bytes: Rows | int) -> Rows:
        """DRAM bytes of everything."""
        return input_bytes + self.output_bytes + self.streamed_weight_bytes(counts, kept_bytes)


class EvaluatedBands:
    """A group in several numbers of bands.

    ``alive[i]``: most bytes of bands on chip while operator i runs, for each number of bands; ``most_alive``: the most
    over all operators. ``requirement``: bytes needed if all weights are streamed.
    """

    def __init__(self, group: BandGroup, bands: Bands, results: set[int] | None = None) -> None:
        """``results``: cut only these into bands, as if nobody wanted the others."""
        model, sizes = group.model, group.sizes
        self.group = group
        self.bands = bands
        self.spans = model.spans.spans(group.inside, group.results if results is None else results, bands)
        self.lines = {i: np.maximum(0, end - first) for i, (first, end) in self.spans.items()}
        held = {i: lines * sizes.line_bytes(i, 1) for i, lines in self.lines.items()}
        self.alive = {i: bands.most(now) for i, now in group.alive(held)}
        alive = np.stack(list(self.alive.values()))
        self.most_alive = alive.max(axis=0)
        self.requirement = (alive + np.array([[model.part_bytes[i]] for i in group.inside])).max(axis=0)

    def input_bytes(self) -> Rows:
        """DRAM bytes of all tensors from outside, halo rows each time, rows that are in no band once."""
        total = np.zeros(len(self.bands.counts), dtype=np.int64)
        for t in self.group.inputs:
            total += self.group.loaded_bytes(t, self.rows(t) + self.missing(t))
        return total

    def rows(self, tensor: int) -> Rows:
        """Rows of a tensor in all bands together."""
        return self.bands.total(self.lines[tensor])

    def missing(self, tensor: int) -> Rows:
        """Rows of a tensor that are in no band."""
        return self.bands.missing(*self.spans[tensor], self.group.model.spans.height[tensor])
