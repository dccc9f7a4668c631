"""LBDF in its fast form: line-buffer depth-first execution on row numbers.

The schedule of the method is run on counters alone (rows made of every tensor), until one period
only shifts them and nothing is clipped; then the counters jump to the last such period and the rest
runs as written. Everything that depends on the graph alone is prepared once.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection
from itertools import accumulate
from math import gcd
from typing import NamedTuple

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj
from tvm_fusion.cost_models.scheme import GroupCost, TensorBuffer
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph, demand_order, members


class Edge(NamedTuple):
    """How one operator reads one operand; ``rate`` operand rows an own row where that is constant."""

    operand: int
    first: list[int]  # lowest row needed from this output row on
    last: list[int]
    first_of_row: list[int]
    holds: bool
    rate: int | None
    clipped_rows: int  # own rows at the top that the border clips
    span: list[int]  # most rows needed at once by the output rows so far
    reach: list[int]  # rows of the operand demanded by the output rows so far


class LineBufferModel:
    """Line counts, requirement and traffic of groups of one graph on one accelerator."""

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None) -> None:
        self.graph = graph
        self.accelerator = accelerator
        self.sizes = sizes or Sizes(graph, accelerator)
        self._height = {i: graph.tensor(i).height for i in [*range(-len(graph.inputs), 0), *range(len(graph))]}
        self._edges = [self._edges_of(i) for i in range(len(graph))]
        self._merged_into = [self._find_in_place_consumer(i) for i in range(len(graph))]

    def lines(self, mask: int, written: Collection[int] | None = None) -> dict[int, int]:
        """Lines of every tensor that the group ``mask`` reads or makes; 0 where it is in place.

        ``written``: the tensors of which every row is made to be written; without it all that are needed outside.
        """
        group = list(members(mask))
        in_place = self._in_place(mask, group)
        outputs = set(self.sizes.outputs(mask) if written is None else written)
        final = self._final_rows(mask, group, outputs)
        inputs = self.sizes.outside_inputs(mask)
        peaks = _Execution(self, mask, group, inputs, outputs, final).run()
        return {i: 0 if i in in_place else max(1, peaks[i]) for i in [*inputs, *group]}

    def edges(self, i: int) -> tuple[Edge, ...]:
        """How operator ``i`` reads its operands, in the order in which it demands them."""
        return self._edges[i]

    def in_place_consumer(self, i: int) -> int:
        """The only operator for which tensor ``i`` may be computed in place, or -1."""
        return self._merged_into[i]

    def made_rows(self, mask: int, written: Collection[int]) -> dict[int, int]:
        """Rows of each operator that the group makes, if all of those of ``written`` are wanted."""
        return self._final_rows(mask, list(members(mask)), set(written))

    def lower_bound_bytes(self, mask: int, written: Collection[int] | None = None) -> int:
        """Bytes that the group certainly needs: its weights and the widest single window of each tensor."""
        group = list(members(mask))
        in_place = self._in_place(mask, group)
        final = self._final_rows(mask, group, set(self.sizes.outputs(mask) if written is None else written))
        lines = dict.fromkeys((i for i in group if i not in in_place), 1)
        for i in group:
            for edge in self._edges[i]:
                if edge.operand not in in_place:
                    need = edge.span[final[i] - 1] if edge.holds and final[i] else 1
                    if lines.get(edge.operand, 0) < need:
                        lines[edge.operand] = need
        line_bytes = self.sizes.line_bytes
        return self.sizes.weights(mask) + sum(line_bytes(i, count) for i, count in lines.items())

    def requirement_bytes(self, mask: int) -> int:
        """F_B: line buffers of all tensors read or made, and all weights."""
        line_bytes = self.sizes.line_bytes
        return self.sizes.weights(mask) + sum(line_bytes(i, count) for i, count in self.lines(mask).items())

    def cost(self, mask: int) -> GroupCost:
        """The whole report of a group."""
        sizes, accelerator = self.sizes, self.accelerator
        buffers = tuple(
            TensorBuffer(i, count, sizes.line_bytes(i, count)) for i, count in sorted(self.lines(mask).items())
        )
        input_bytes, output_bytes = sizes.boundary_bytes(mask)
        weights = sizes.weights(mask)
        buffer_bytes = weights + sum(buffer.bytes for buffer in buffers)
        dram_bytes = input_bytes + output_bytes + weights
        operators = tuple(members(mask))
        macs = sum(self.graph.operators[i].macs * self.graph.operators[i].batch for i in operators)
        return GroupCost(
            operators=operators,
            scheme="lbdf",
            valid=buffer_bytes <= accelerator.buffer_bytes,
            buffer_bytes=buffer_bytes,
            buffers=buffers,
            weight_buffer_bytes=weights,
            input_bytes=input_bytes,
            output_bytes=output_bytes,
            weight_bytes=weights,
            macs=macs,
            estimated_cycles=estimated_cycles(accelerator, dram_bytes, macs),
            estimated_energy_pj=estimated_energy_pj(accelerator, sizes, mask, dram_bytes, macs),
        )

    def _edges_of(self, i: int) -> tuple[Edge, ...]:
        operator = self.graph.operators[i]
        edges = []
        for operand in sorted(operator.inputs, key=demand_order):
            demand = operator.demands[operator.inputs.index(operand)]
            height = self._height[operand]
            rows = [demand.rows(r, height) for r in range(operator.height)]
            # A row that needs nothing must neither hold nor demand: first beyond all, last before all.
            first = [a if b >= a else height for a, b in rows]
            last = [b if b >= a else -1 for a, b in rows]
            future = list(accumulate(reversed(first), min))[::-1]
            rate: int | None = None
            clipped = 0
            if demand.kind in ("window", "row"):
                stride, padding = (demand.stride, demand.padding) if demand.kind == "window" else (1, 0)
                # A window wholly in the padding jumps back to row 0, and then nothing is periodic.
                rate = stride if future == first else None
                clipped = max(0, -(-padding // stride))
            span = list(accumulate((b - a + 1 for a, b in rows), max))
            reach = list(accumulate((b + 1 for b in last), max))
            edges.append(Edge(operand, future, last, first, demand.kind != "accumulate", rate, clipped, span, reach))
        return tuple(edges)

    def _find_in_place_consumer(self, i: int) -> int:
        """The only consumer if tensor ``i`` may be computed in place for it, else -1."""
        consumers = self.graph.consumers[i]
        if len(consumers) != 1 or self.graph.output_mask >> i & 1:
            return -1
        consumer = self.graph.operators[consumers[0]]
        return consumer.id if consumer.pointwise and consumer.shape == self.graph.operators[i].shape else -1

    def _in_place(self, mask: int, group: list[int]) -> set[int]:
        merged: dict[int, int] = {}
        in_place = set()
        for i in group:
            consumer = self._merged_into[i]
            if consumer < 0 or not mask >> consumer & 1:
                continue
            # What itself merges two in-place tensors has a row of its own, unless it comes first.
            if merged.get(i, 0) >= 2 and self._edges[consumer][0].operand != i:
                continue
            in_place.add(i)
            merged[consumer] = merged.get(consumer, 0) + 1
        return in_place

    def _final_rows(self, mask: int, group: list[int], outputs: set[int]) -> dict[int, int]:
        """Rows of each operator that are ever made: all of a written or last one, else what is demanded."""
        successors = self.graph.successor_masks
        final = dict.fromkeys(group, 0)
        for i in reversed(group):
            if i in outputs or not successors[i] & mask:
                final[i] = self._height[i]
            rows = final[i]
            if rows:
                for edge in self._edges[i]:
                    operand = edge.operand
                    if operand in final and edge.reach[rows - 1] > final[operand]:
                        final[operand] = edge.reach[rows - 1]
        return final


class _Execution:
    """One run of the schedule on counters; tensors carry local numbers, inputs first."""

    def __init__(
        self,
        model: LineBufferModel,
        mask: int,
        group: list[int],
        inputs: list[int],
        outputs: set[int],
        final: dict[int, int],
    ) -> None:
        self.ids = [*inputs, *group]
        local = {i: k for k, i in enumerate(self.ids)}
        self.height = [model._height[i] for i in self.ids]
        self.final = [self.height[k] if k < len(inputs) else final[i] for k, i in enumerate(self.ids)]
        self.made = [0] * len(self.ids)
        self.peak = [0] * len(self.ids)
        self.demands: list[list[tuple[int, list[int]]]] = [[] for _ in self.ids]
        self.readers: list[list[tuple[int, list[int], int]]] = [[] for _ in self.ids]
        self.edges: list[tuple[int, int, Edge]] = []
        for i in group:
            k = local[i]
            rows = final[i]
            for edge in model._edges[i]:
                t = local[edge.operand]
                self.demands[k].append((t, edge.last))
                self.edges.append((k, t, edge))
                if edge.holds and rows:
                    self.readers[t].append((k, _needs(edge, rows), rows))
        successors = model.graph.successor_masks
        self.last = [local[i] for i in group if not successors[i] & mask]
        self.written = [local[i] for i in group if i in outputs]
        self.steps = max(self.height[k] for k in self.last)
        self.watch = all(edge.rate is not None or not self._moves(edge) for *_, edge in self.edges)

    def run(self) -> dict[int, int]:
        """Execute; the most lines ever held of each tensor, by operand id."""
        limit = 3 * len(self.ids) + 500
        if limit > sys.getrecursionlimit():
            sys.setrecursionlimit(limit)
        make = self._maker()
        made, height = self.made, self.height
        if self.steps == 1:
            for k in self.last:
                self._make_one_row(k, make)
        else:
            self._advance([(k, height[k]) for k in self.last], self.steps, make)
        for k in self.written:
            while made[k] < height[k]:
                make(k)
        return {i: self.peak[t] for t, i in enumerate(self.ids)}

    def _make_one_row(self, k: int, make: Callable[[int], None]) -> None:
        """Make the only row of ``k``: what it needs of each operand in turn, so that long ones can be jumped over."""
        for t, last in self.demands[k]:
            rows = last[0] + 1
            if self.made[t] >= rows:
                continue
            if self.height[t] == 1:
                self._make_one_row(t, make)
            else:
                self._advance([(t, rows)], rows, make, begin=self.made[t])
        if not self.made[k]:
            make(k)

    def _advance(self, targets: list[tuple[int, int]], steps: int, make: Callable[[int], None], begin: int = 0) -> None:
        """Make the rows of each target (and what they need) in steps ``begin`` .. ``steps`` - 1, proportionally."""
        made = self.made
        divisor = steps
        for _, h in targets:
            if not (h == 1 < steps):
                divisor = gcd(divisor, h)
        period = steps // divisor
        watch = self.watch and 2 * period < steps - begin
        before: list[int] | None = None
        u = begin
        while u < steps:
            for k, h in targets:
                if h == 1 < steps and u < steps - 1:
                    continue
                target = -(-(u + 1) * h // steps)
                while made[k] < target:
                    make(k)
            u += 1
            if watch and u % period == 0:
                if before is not None:
                    jump = self._periods_to_jump(before, steps, u, period)
                    if jump:
                        for t, old in enumerate(before):
                            made[t] += jump * (made[t] - old)
                        u += jump * period
                        watch = False
                before = made[:]

    def _moves(self, edge: Edge) -> bool:
        """Whether a reader of irregular demand goes on row by row (a table, or windows in the padding)."""
        return len(edge.last) > 1 and len(set(edge.last)) > 1

    def _maker(self) -> Callable[[int], None]:
        made, peak, demands, readers = self.made, self.peak, self.demands, self.readers

        def make(k: int) -> None:
            row = made[k]
            for t, last in demands[k]:
                need = last[row]
                while made[t] <= need:
                    make(t)
            made[k] = row + 1
            oldest = row
            for c, first, rows in readers[k]:
                at = made[c]
                if at < rows and first[at] < oldest:
                    oldest = first[at]
            peak[k] = max(peak[k], row + 1 - oldest)

        return make

    def _periods_to_jump(self, before: list[int], steps: int, u: int, period: int) -> int:
        """Periods that may be skipped: 0 unless the last one only shifted the state, unclipped."""
        made, height = self.made, self.height
        moved = [now - old for now, old in zip(made, before, strict=True)]
        for k, t, edge in self.edges:
            if before[t] >= height[t]:
                continue  # wholly made before: nothing of it changes any more
            if not moved[t] and not moved[k]:
                continue
            if edge.rate is None:
                if edge.holds:
                    return 0
                continue
            if not edge.holds:
                continue
            if moved[t] != edge.rate * moved[k] or before[k] < edge.clipped_rows:
                return 0
        jump = (steps - u) // period - 1
        for t, step in enumerate(moved):
            if step:
                jump = min(jump, (height[t] - 1 - made[t]) // step - 1)
        return max(0, jump)


def _needs(edge: Edge, rows: int) -> list[int]:
    """Lowest operand row needed from each output row on, if only the first ``rows`` are ever made."""
    if rows == len(edge.first) or edge.first_of_row == edge.first:
        return edge.first
    return list(accumulate(reversed(edge.first_of_row[:rows]), min))[::-1]


def line_buffer_cost(graph: OperatorGraph, mask: int, accelerator: Accelerator) -> GroupCost:
    """Cost of one group under LBDF; :class:`LineBufferModel` is faster for many groups of a graph."""
    return LineBufferModel(graph, accelerator).cost(mask)
