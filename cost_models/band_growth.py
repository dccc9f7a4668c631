"""What a group in bands needs however it grows: a bound for searches that grow groups in topological order.

A group S grows to S' by operators that nothing in S reads. A row that the whole network demands of a tensor is made in
S' too: there the tensor is either a result, of which every row is made, or its readers are all in S' and demand it, by
induction from the network's end. The band of S' that it is in holds of every tensor in S at least what this row needs,
and holds it at least as long: what reads it in S reads it in S'. Weights need one sub-group at least.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_spans import Bands, Rows
from tvm_fusion.graph.graph import OperatorGraph


class BandBound(NamedTuple):
    """What a group and all that it grows into need at least in bands.

    ``needed_bytes`` on chip; ``bands``: the fewest in which it can fit (0: it cannot); ``extra_bytes`` of DRAM beyond
    inputs, outputs and weights once each.
    """

    needed_bytes: int
    bands: int
    extra_bytes: int


def growth_bound(group: BandGroup, demanded: Sequence[Rows], bands: int = 1) -> BandBound:
    """``demanded``: see :func:`demanded_rows`; ``bands``: so many are needed at least, as known from a part of it.

    Of n bands one has an n-th of the demanded rows of a result, from the first to the last of these. Where that does
    not fit wherever it lies, there are more bands. The weights for which no room is left pass in each of them.
    """
    rows = {i: demanded[i] for i in sorted(group.results) if len(demanded[i])}
    if not rows:
        return BandBound(0, 1, 0)
    one = _evaluated(group, rows, dict.fromkeys(rows, 1))
    needed = int(one.requirement.max())
    if needed > group.buffer_bytes:
        return BandBound(needed, 0, 0)
    room = group.buffer_bytes - int(one.most_alive.max())
    passing = max(0, group.weight_bytes - room)
    if passing:
        high = max(map(len, rows.values()))  # in so many it fits
        low = bands
        bands = min(bands, high)
        while bands < high and not _fits(group, rows, bands):
            # Few bands more than a part of the group needs, as a rule.
            low, bands = bands + 1, min(high, 2 * bands)
        high = bands
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if _fits(group, rows, middle) else (middle + 1, high)
        bands = high
    return BandBound(needed, bands, (bands * group.graph.batch - 1) * passing)


def _fits(group: BandGroup, rows: Mapping[int, Rows], bands: int) -> bool:
    """Whether an n-th of every result's rows fits in the place where it needs least."""
    length = {i: -(-len(wanted) // bands) for i, wanted in rows.items()}
    needed, begin = _evaluated(group, rows, length).requirement, 0
    for i, wanted in rows.items():
        end = begin + len(wanted) - length[i] + 1
        if needed[begin:end].min() > group.buffer_bytes:
            return False
        begin = end
    return True


def _evaluated(group: BandGroup, rows: Mapping[int, Rows], length: Mapping[int, int]) -> EvaluatedBands:
    """All bands of so many demanded rows one after another, of one result each."""
    stretches = {i: (wanted[: len(wanted) - length[i] + 1], wanted[length[i] - 1 :] + 1) for i, wanted in rows.items()}
    return EvaluatedBands(group, Bands.of_stretches(stretches, group.model.spans.height), set(rows))


def demanded_rows(graph: OperatorGraph) -> tuple[Rows, ...]:
    """Rows of each operator, ascending, that are demanded if the whole network is one group."""
    made = [
        np.full(op.height, op.id in graph.outputs or not graph.consumers[op.id], dtype=bool) for op in graph.operators
    ]
    for op in reversed(graph.operators):
        for operand, demand in zip(op.inputs, op.demands, strict=True):
            if operand >= 0:
                for row in np.flatnonzero(made[op.id]):
                    first, last = demand.rows(int(row), len(made[operand]))
                    made[operand][first : last + 1] = True
    return tuple(np.flatnonzero(rows) for rows in made)
