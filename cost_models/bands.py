"""BRR (buffer requirement reduction): a group executed band by band, one operator after another.

The rows of every result (a tensor that is written, or that nothing in the group reads) are cut into n bands as equal as
can be, results of other heights proportionally. Band b of any other tensor is the stretch of rows from the first to the
last that the operators need to make their band b. What the specification leaves open is done as follows:

- A result that others in the group read is made with the rows that they need (its halo, made anew in each band), but
  every row is written once, by the band that it is a part of. The band is held until its last reader has run.
- An operator that needs all rows of an operand (flatten, attention, global pooling) needs them in each band in which it
  makes a row: they are made or loaded again for it.
- Nothing is in place: operands and result of an operator are on chip together.
- A tensor from outside is loaded before its first reader in the group runs. Rows of it that are in no band (skipped by
  a stride, or read by nobody) are read once and not held, so no group moves less than its compulsory traffic.
- An operator whose weights are streamed streams them all in every band, whether or not it makes a row there.
- More bands than the tallest result has rows are never chosen.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.band_choice import (
    BandChoice,
    least_requirement,
    least_requirement_bytes,
    least_traffic,
    required_bytes,
)
from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_growth import BandBound, demanded_rows, growth_bound
from tvm_fusion.cost_models.band_spans import Bands, BandSpans, Rows
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj
from tvm_fusion.cost_models.scheme import GroupCost, TensorBuffer
from tvm_fusion.cost_models.sizes import Sizes, weight_part_bytes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph


class BandModel:
    """BRR's requirement and traffic of groups of one graph on one accelerator."""

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None) -> None:
        self.graph = graph
        self.accelerator = accelerator
        self.sizes = sizes or Sizes(graph, accelerator)
        self.spans = BandSpans(graph)
        self.part_bytes = [weight_part_bytes(op, accelerator) for op in graph.operators]
        self._last: BandGroup | None = None

    def choose(self, mask: int) -> BandChoice | None:
        """The number of bands and kept weights that move least among all that fit the buffer; None if none does."""
        return least_traffic(self._group(mask))

    def least_requirement(self, mask: int) -> BandChoice:
        """The number of bands (all weights streamed) that needs least on chip, fits or not."""
        return least_requirement(self._group(mask))

    def requirement_bytes(self, mask: int) -> int:
        """Bytes on chip of :meth:`least_requirement`: the group is valid if the buffer has them."""
        return least_requirement_bytes(self._group(mask))

    def growth_bound(self, mask: int, bands: int = 1) -> BandBound:
        """Of a group, and every group that it grows into by operators that it does not read."""
        return growth_bound(self._group(mask), self.demanded_rows, bands)

    @cached_property
    def demanded_rows(self) -> tuple[Rows, ...]:
        """Rows of each operator that are made in every group, as the whole network demands them."""
        return demanded_rows(self.graph)

    def cost(self, mask: int, bands: int | None = None, kept: Iterable[int] = ()) -> GroupCost:
        """The whole report of a group in ``bands`` with the weights of ``kept`` on chip throughout.

        Without ``bands`` as :meth:`choose` has it, or :meth:`least_requirement` where nothing fits. Raises
        CostModelError for a mask that is no group, no band, or a kept operator that is not in the group.
        """
        group = self._group(mask)
        if bands is None:
            choice = least_traffic(group) or least_requirement(group)
            bands, kept = choice.bands, choice.kept
        kept = tuple(sorted(set(kept)))
        if bands < 1:
            raise CostModelError(f"a group has at least 1 band, not {bands}")
        if not set(kept) <= set(group.inside):
            raise CostModelError(f"kept operators {list(kept)} are not all in the group {group.inside}")
        return self._report(EvaluatedBands(group, Bands.of([bands])), bands, kept)

    def _group(self, mask: int) -> BandGroup:
        """The facts of a group; one is mostly asked several things, one after another."""
        if self._last is None or self._last.mask != mask:
            self._last = BandGroup(self, mask)
        return self._last

    def _report(self, found: EvaluatedBands, bands: int, kept: tuple[int, ...]) -> GroupCost:
        group, graph, sizes, accelerator = found.group, self.graph, self.sizes, self.accelerator
        lines = {i: int(found.bands.most(lines)[0]) for i, lines in found.lines.items()}
        buffers = tuple(TensorBuffer(i, count, sizes.line_bytes(i, count)) for i, count in sorted(lines.items()))
        kept_bytes = sum(sizes.weight_bytes[i] for i in kept)
        weight_bytes = int(group.streamed_weight_bytes(found.bands.counts, kept_bytes)[0])
        input_bytes = int(found.input_bytes()[0])
        dram_bytes = input_bytes + group.output_bytes + weight_bytes
        buffer_bytes = required_bytes(found, 0, kept)
        macs = recomputed = 0
        for i in group.inside:
            op = graph.operators[i]
            again = int((found.rows(i) + found.missing(i))[0]) - op.height
            macs += op.batch * op.macs
            recomputed += op.batch * op.macs * again // op.height
        macs += recomputed
        return GroupCost(
            operators=tuple(group.inside),
            scheme="brr",
            valid=buffer_bytes <= accelerator.buffer_bytes,
            buffer_bytes=buffer_bytes,
            buffers=buffers,
            weight_buffer_bytes=kept_bytes,
            input_bytes=input_bytes,
            output_bytes=group.output_bytes,
            weight_bytes=weight_bytes,
            macs=macs,
            estimated_cycles=estimated_cycles(accelerator, dram_bytes, macs),
            estimated_energy_pj=estimated_energy_pj(accelerator, sizes, group.mask, dram_bytes, macs),
            recomputed_macs=recomputed,
            parameters={"bands": bands, "kept": list(kept)},
        )
