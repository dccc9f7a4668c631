"""PassBound: bytes on chip that any pass needs which executes certain operators, and so a bound for groups that grow.

What a set S of operators needs at least in every pass that executes all of S (and more), in whatever group:

- Its weights: each pass has its own on chip.
- A tensor t that c in S reads: the widest window of c over the rows that c makes in every pass that executes it. Such a
  pass makes c for a reader of c, which demands some of its rows, or because c is a result, and then all: so at least
  the fewest rows that any of its readers in the network demands, by induction from the network's end.
- A skip: if row r of c needs (along paths inside S) the first n rows of t, then c has made no more than r rows when
  row n - 1 of t is made, and so needs t from the first row on that its rows r and later read.
- One row for every other tensor; none for one that may be in place for its only reader.

A group G grows to G' by operators that nothing in G reads. However G' is split into passes, tensors at hand are scales.
So a pass that executes x executes everything that x needs in G without a scale between; scales are not so many as
:class:`Chains` says they may be. Each such set needs what is said above, in G' in passes and also in plain LBDF, which
is one pass of all operators.
"""

from __future__ import annotations

from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np

from tvm_fusion.cost_models.line_buffer import Edge, LineBufferModel
from tvm_fusion.cost_models.pass_chains import Chains
from tvm_fusion.graph.graph import members, reachable


class _Read(NamedTuple):
    """One operator's reading of one tensor: least bytes, and for some sets of operators between them the bytes if all
    of these are there, the most first."""

    tensor: int
    window_bytes: int
    skips: tuple[tuple[int, int], ...]


class PassBound:
    """Lower bounds for passes of groups of one graph."""

    def __init__(self, model: LineBufferModel, chains: Chains) -> None:
        self.model, self.graph, self.sizes, self.chains = model, model.graph, model.sizes, chains
        scales, graph = chains.scales, model.graph
        # Without the edges at which a pass may end.
        self._needed = tuple(mask & ~scales for mask in graph.predecessor_masks)
        self._readers = tuple(0 if scales >> i & 1 else mask for i, mask in enumerate(graph.successor_masks))
        self._row_bytes = [
            0 if model.in_place_consumer(i) >= 0 else self.sizes.line_bytes(i, 1) for i in range(len(graph))
        ]
        self._reads: list[tuple[_Read, ...] | None] = [None] * len(graph)
        self._least: dict[int, int] = {}

    def growth_bound_bytes(self, mask: int) -> int:
        """Bytes that group ``mask`` needs, and whatever it grows into by operators that nothing in it reads."""
        most = 0
        for i in members(mask):
            if not self._readers[i] & mask:
                most = max(most, self.least_bytes(reachable(self._needed, mask, 1 << i)))
        return most

    def least_bytes(self, executed: int) -> int:
        """Bytes that a pass needs at least which executes the operators of a mask, and perhaps others."""
        found = self._least.get(executed)
        if found is None:
            found = self._least[executed] = self._least_bytes(executed)
        return found

    def _least_bytes(self, executed: int) -> int:
        model, scales = self.model, self.chains.scales
        least: dict[int, int] = {}
        weights = 0
        for c in members(executed):
            weights += self.sizes.weight_bytes[c]
            least.setdefault(c, self._row_bytes[c])
            for read in self._reads_of(c):
                t = read.tensor
                # A scale may be in place if its reader is in the same pass; other operands outside the set cannot.
                if t >= 0 and (executed | scales) >> t & 1 and model.in_place_consumer(t) >= 0:
                    continue
                need = read.window_bytes
                for between, skip_bytes in read.skips:
                    if not between & ~executed:
                        need = skip_bytes
                        break
                if least.get(t, 0) < need:
                    least[t] = need
        return weights + sum(least.values())

    def _reads_of(self, c: int) -> tuple[_Read, ...]:
        found = self._reads[c]
        if found is None:
            rows = self._rows[c]
            found = self._reads[c] = tuple(self._read(c, edge, rows) for edge in self.model.edges(c))
        return found

    def _read(self, c: int, edge: Edge, rows: int) -> _Read:
        t, line_bytes = edge.operand, self.sizes.line_bytes
        window_bytes = line_bytes(t, max(1, edge.span[rows - 1]) if edge.holds and rows else 1)
        skips: dict[int, int] = {}
        if edge.holds and rows:
            below, above = self._below(t), self.graph.ancestor_masks[c]
            uncut = reachable(self._needed, below & above | 1 << c, 1 << c) & ~(1 << c)
            for between in {below & above, uncut & reachable(self._readers, uncut, uncut & self._read_by(t))}:
                if between:
                    skips[between] = max(window_bytes, line_bytes(t, self._skip_rows(c, edge, rows, between)))
        by_bytes = sorted(skips.items(), key=lambda item: (-item[1], item[0]))
        return _Read(t, window_bytes, tuple(item for item in by_bytes if item[1] > window_bytes))

    def _read_by(self, t: int) -> int:
        return sum(1 << c for c in self.graph.consumers[t])

    def _below(self, t: int) -> int:
        if t >= 0:
            return self.graph.descendant_masks[t]
        below = 0
        for c in self.graph.consumers[t]:
            below |= 1 << c | self.graph.descendant_masks[c]
        return below

    def _skip_rows(self, c: int, edge: Edge, rows: int, between: int) -> int:
        """Rows of the operand held at least while rows of it on the way through ``between`` are made."""
        need = {c: np.arange(1, rows + 1)}
        for x in (c, *sorted(members(between), reverse=True)):
            if x not in need:
                continue
            for read in self.model.edges(x):
                if read.operand == edge.operand or (read.operand >= 0 and between >> read.operand & 1):
                    found = np.array([0, *read.reach])[need[x]]
                    before = need.get(read.operand)
                    need[read.operand] = found if before is None else np.maximum(before, found)
        oldest = np.array(list(accumulate(reversed(edge.first_of_row[:rows]), min))[::-1])
        return int((need[edge.operand] - oldest).max())

    @cached_property
    def _rows(self) -> list[int]:
        """Rows of each operator that every pass makes which executes it."""
        graph = self.graph
        rows = [op.height for op in graph.operators]
        for op in reversed(graph.operators):
            demanded = []
            for c in graph.consumers[op.id]:
                (edge,) = (edge for edge in self.model.edges(c) if edge.operand == op.id)
                demanded.append(edge.reach[rows[c] - 1] if rows[c] else 0)
            rows[op.id] = min(demanded, default=op.height)
        return rows
