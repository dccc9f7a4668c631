"""GrowthBound: bytes that a group needs and moves, operator by operator as the group grows.

Searches that enumerate groups grow them in topological order: a group S grows to S' by operators that
nothing in S reads. Everything counted here as *needed* stays needed in every such S', which makes it a
bound that may stop the growth. Why, for LBDF (tensor t, its reader c in S, e = the edge t -> c):

- Weights: all stay resident, so they only add up.
- An operator of S' makes at least the rows that it makes when the whole graph is one group: in S' it is
  either last or written (then all its rows), or its readers are all in S' and demand at least as much,
  by induction from the end of the graph.
- So lines(t) >= the widest window of e over those rows: when the window's last row is made, c has not
  made its own row, and still needs the first.
- If row r of c needs (along any path from t to c) the first n rows of t, then when row n - 1 of t is
  made, c has made at most r rows and needs everything from the first row that its rows >= r read. So
  lines(t) >= n - first(r). All paths from t to c lie in S if those operators do; since S is closed under
  predecessors inside S', they are the same in S'. This is what squeeze-and-excite and skips cost.
- A tensor that S makes is in place (0 lines) only for its sole consumer, so it is counted 0 while that
  consumer is not in S and after, and at least 1 line otherwise; what S reads from outside, at least 1.
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

import numpy as np

from tvm_fusion.graph.demand import RowDemand
from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem


class _Read(NamedTuple):
    """One operator's reading of one tensor: least bytes on chip, without and with the paths between."""

    operand: int
    in_place: bool
    window_bytes: int
    path_bytes: int
    between: int


class GrowthBound:
    """Incremental lower bound of the requirement, and exact DRAM bytes, of groups that grow."""

    def __init__(self, problem: FusionProblem) -> None:
        graph, sizes = problem.graph, problem.oracle.sizes
        self.problem = problem
        self.graph = graph
        self.weight_bytes = sizes.weight_bytes
        self.tensor_bytes = sizes.tensor_bytes
        self.consumer_masks = {i: sum(1 << c for c in cs) for i, cs in graph.consumers.items()}
        self.final = [graph.output_mask >> i & 1 == 1 for i in range(len(graph))]
        self.row_bytes = [sizes.line_bytes(i, 1) for i in range(len(graph))]
        self._rows = self._rows_always_made()
        self.reads: list[tuple[_Read, ...]] = [self._reads_of(i) for i in range(len(graph))]
        self.readers: dict[int, list[tuple[int, _Read]]] = {i: [] for i in graph.consumers}
        for i, reads in enumerate(self.reads):
            for read in reads:
                self.readers[read.operand].append((1 << i, read))

    def add(self, mask: int, needed: int, moved: int, i: int) -> tuple[int, int]:
        """(needed, moved) bytes of ``mask`` with operator ``i`` added, which nothing in it reads."""
        weight = self.weight_bytes[i]
        needed += weight
        moved += weight
        if self.in_place_consumer(i) < 0:
            needed += self.row_bytes[i]
        if self.final[i] or self.consumer_masks[i]:
            moved += self.tensor_bytes[i]
        grown = mask | 1 << i
        for read in self.reads[i]:
            t = read.operand
            inside = t >= 0 and mask >> t & 1
            if inside:
                if not self.consumer_masks[t] & ~grown and not self.final[t]:
                    moved -= self.tensor_bytes[t]
                if read.in_place:
                    continue
                before = self.row_bytes[t]
            else:
                before = 0
                if not self.consumer_masks[t] & mask:
                    moved += self.tensor_bytes[t]
            for bit, other in self.readers[t]:
                if bit & mask:
                    least = other.window_bytes if other.between & ~mask else other.path_bytes
                    before = max(before, least)
            least = read.window_bytes if read.between & ~mask else read.path_bytes
            if least > before:
                needed += least - before
        return needed, moved

    def total(self, mask: int) -> tuple[int, int]:
        """(needed, moved) bytes of a whole group."""
        grown = needed = moved = 0
        for i in members(mask):
            needed, moved = self.add(grown, needed, moved, i)
            grown |= 1 << i
        return needed, moved

    def in_place_consumer(self, i: int) -> int:
        """The only operator for which tensor ``i`` may be in place, or -1."""
        consumers = self.graph.consumers[i]
        if len(consumers) != 1 or self.final[i]:
            return -1
        consumer = self.graph.operators[consumers[0]]
        return consumer.id if consumer.pointwise and consumer.shape == self.graph.operators[i].shape else -1

    def _rows_always_made(self) -> list[int]:
        """Rows of each operator that are made when the whole graph is one group: no group makes fewer."""
        graph = self.graph
        rows = [op.height if self.final[op.id] or not graph.consumers[op.id] else 0 for op in graph.operators]
        for op in reversed(graph.operators):
            for operand, demand in zip(op.inputs, op.demands, strict=True):
                if operand >= 0:
                    height = graph.tensor(operand).height
                    rows[operand] = max(rows[operand], *_reach(demand, rows[op.id], height))
        return rows

    def _reads_of(self, i: int) -> tuple[_Read, ...]:
        graph, sizes, problem = self.graph, self.problem.oracle.sizes, self.problem
        operator = graph.operators[i]
        paths: dict[int, np.ndarray] | None = None
        reads = []
        for t, demand in zip(operator.inputs, operator.demands, strict=True):
            height = graph.tensor(t).height
            demanded = [demand.rows(r, height) for r in range(self._rows[i])]
            window = path = 1
            below = problem.graph.descendant_masks[t] if t >= 0 else self._below_input(t)
            between = below & problem.graph.ancestor_masks[i]
            if demand.kind != "accumulate" and demanded:
                window = max(1, *(last - first + 1 for first, last in demanded))
                path = window
                if between:
                    paths = self._rows_for_each_row(i) if paths is None else paths
                    first = [a if b >= a else height for a, b in demanded]
                    oldest = np.array(list(accumulate(reversed(first), min))[::-1])
                    path = max(path, int((paths[t] - oldest).max()))
            in_place = t >= 0 and self.in_place_consumer(t) == i
            reads.append(_Read(t, in_place, sizes.line_bytes(t, window), sizes.line_bytes(t, path), between))
        return tuple(reads)

    def _below_input(self, t: int) -> int:
        below = 0
        for c in self.graph.consumers[t]:
            below |= 1 << c | self.problem.graph.descendant_masks[c]
        return below

    def _rows_for_each_row(self, i: int) -> dict[int, np.ndarray]:
        """For every tensor above operator ``i``: its rows that are made before each row of ``i`` is."""
        graph = self.graph
        need: dict[int, np.ndarray] = {i: np.arange(1, self._rows[i] + 1)}
        for x in [i, *sorted(members(self.problem.graph.ancestor_masks[i]), reverse=True)]:
            operator = graph.operators[x]
            for operand, demand in zip(operator.inputs, operator.demands, strict=True):
                height = graph.tensor(operand).height
                found = np.array(_reach(demand, operator.height, height))[need[x]]
                need[operand] = np.maximum(need[operand], found) if operand in need else found
        return need


def _reach(demand: RowDemand, rows: int, operand_height: int) -> list[int]:
    """Operand rows that are made before the first 0, 1, .. ``rows`` rows of its reader are."""
    demanded = (demand.rows(r, operand_height) for r in range(rows))
    return list(accumulate((last + 1 if last >= first else 0 for first, last in demanded), max, initial=0))
