"""BandSpans: the rows of every tensor that each band of a group needs, for many numbers of bands at once.

Arrays have one entry a band, the bands of the first number of bands before those of the next. A span is
(first row, row after the last); one without rows is (height, 0), so that minimum and maximum make the hull.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tvm_fusion.graph.demand import RowDemand
from tvm_fusion.graph.graph import OperatorGraph

Rows = npt.NDArray[np.int64]


class Bands(NamedTuple):
    """The bands of several numbers of bands: ``starts[k]`` is where those of ``counts[k]`` begin."""

    counts: Rows
    starts: Rows
    among: Rows  # of each band: how many there are of its kind
    number: Rows  # of each band: which of them it is
    own: Mapping[int, tuple[Rows, Rows]] | None = None  # by result the rows of each band, where not as equal as can be

    @classmethod
    def of(cls, counts: Sequence[int] | Rows) -> Bands:
        """All bands of ``counts`` (each at least 1)."""
        every = np.asarray(counts, dtype=np.int64)
        starts = np.cumsum(every) - every
        return cls(every, starts, np.repeat(every, every), np.arange(every.sum()) - np.repeat(starts, every))

    @classmethod
    def of_stretches(cls, stretches: Mapping[int, tuple[Rows, Rows]], heights: Mapping[int, int]) -> Bands:
        """Each a kind of its own: one band for each stretch of rows of each result, without rows of the others.

        ``stretches``: by result first rows and those after the last; bands come in the order of results.
        """
        total = sum(len(first) for first, _ in stretches.values())
        own, begin = {}, 0
        for result, (first, end) in stretches.items():
            firsts, ends = np.full(total, heights[result]), np.zeros(total, dtype=np.int64)
            firsts[begin : begin + len(first)], ends[begin : begin + len(first)] = first, end
            own[result], begin = (firsts, ends), begin + len(first)
        ones = np.ones(total, dtype=np.int64)
        return cls(ones, np.arange(total), ones, np.zeros(total, dtype=np.int64), own)

    def total(self, values: Rows) -> Rows:
        """Sum over the bands of each number of bands."""
        return np.add.reduceat(values, self.starts)

    def most(self, values: Rows) -> Rows:
        """Maximum over the bands of each number of bands."""
        return np.maximum.reduceat(values, self.starts)

    def missing(self, first: Rows, end: Rows, height: int) -> Rows:
        """Rows of a tensor that are in no band, for each number of bands."""
        kind = np.repeat(np.arange(len(self.counts)), self.counts)[first < end]
        first, end = first[first < end], end[first < end]
        # One kind after another on one line, each a stretch of ``height`` rows.
        first, end = first + kind * height, end + kind * height
        if np.any(first[1:] < first[:-1]):
            order = np.argsort(first, kind="stable")
            first, end, kind = first[order], end[order], kind[order]
        reached = np.maximum.accumulate(np.concatenate(([0], end)))[:-1]
        covered = np.bincount(
            kind, np.maximum(0, end - np.maximum(first, reached)), minlength=len(self.counts)
        )  # fmt: skip
        return height - covered.astype(np.int64)


class BandSpans:
    """Spans of the bands of groups of one graph."""

    def __init__(self, graph: OperatorGraph) -> None:
        self.height = {i: graph.tensor(i).height for i in [*range(-len(graph.inputs), 0), *range(len(graph))]}
        tables: dict[tuple[RowDemand, int, int], _Needs] = {}
        self.reads: list[list[tuple[int, _Needs]]] = []
        for op in graph.operators:
            reads = []
            for operand, demand in zip(op.inputs, op.demands, strict=True):
                key = demand, op.height, self.height[operand]
                if key not in tables:
                    tables[key] = _Needs(*key)
                reads.append((operand, tables[key]))
            self.reads.append(reads)

    def spans(self, inside: Sequence[int], results: set[int], bands: Bands) -> dict[int, tuple[Rows, Rows]]:
        """Spans of every tensor that the operators ``inside`` (ascending) read or make.

        ``results`` are cut into bands, the others follow by demand.
        """
        found: dict[int, tuple[Rows, Rows]] = {}
        for i in reversed(inside):
            if i in results:
                own = self._own(i, bands)
                found[i] = _hull(found[i], own) if i in found else own
            elif i not in found:
                found[i] = np.full(len(bands.number), self.height[i]), np.zeros(len(bands.number), dtype=np.int64)
            for operand, needs in self.reads[i]:
                needed = needs.of(*found[i])
                found[operand] = _hull(found[operand], needed) if operand in found else needed
        return found

    def _own(self, i: int, bands: Bands) -> tuple[Rows, Rows]:
        if bands.own is not None:
            return bands.own[i]
        height = self.height[i]
        first = bands.number * height // bands.among
        end = (bands.number + 1) * height // bands.among
        if np.all(bands.counts <= height):
            return first, end
        return np.where(first < end, first, height), np.where(first < end, end, 0)


class _Needs:
    """The rows of an operand that spans of its reader need: by two look-ups where demands only rise."""

    def __init__(self, demand: RowDemand, reader_height: int, height: int) -> None:
        rows = [demand.rows(row, height) for row in range(reader_height)]
        first = np.array([*(a if a <= b else height for a, b in rows), height])
        end = np.array([*(b + 1 if a <= b else 0 for a, b in rows), 0])
        self.first, self.end = first, np.concatenate(([0], end[:-1]))
        rising = np.all(first[1:-1] >= first[:-2]) and np.all(end[1:-1] >= end[:-2]) and np.all(first[:-1] < height)
        self.tables = None if rising else (_tables(first, np.minimum), _tables(end, np.maximum))

    def of(self, first: Rows, end: Rows) -> tuple[Rows, Rows]:
        """First row and the one after the last, for many spans of the reader."""
        if self.tables is None:
            return self.first[first], self.end[end]
        lowest, highest = self.tables
        level = np.frexp(np.maximum(end - first, 1))[1] - 1
        second = end - (1 << level)
        return (
            np.minimum(lowest[level, first], lowest[level, second]),
            np.maximum(highest[level, first], highest[level, second]),
        )


def _tables(values: Rows, extreme: Any) -> Rows:
    """Row k: the extreme of 2**k values from each place on; the last value, beyond all rows, is the neutral one."""
    levels = [values]
    while 2 ** len(levels) < len(values):
        step, last = 2 ** (len(levels) - 1), levels[-1]
        levels.append(extreme(last, np.concatenate((last[step:], np.full(step, values[-1])))))
    return np.stack(levels)


def _hull(a: tuple[Rows, Rows], b: tuple[Rows, Rows]) -> tuple[Rows, Rows]:
    return np.minimum(a[0], b[0]), np.maximum(a[1], b[1])
