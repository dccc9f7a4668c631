"""What a group in bands needs however it grows: a bound for searches that grow groups in topological order.

A group S grows to S' by operators that nothing in S reads. A row that the whole network demands of a tensor is made in
S' too: there the tensor is either a result, of which every row is made, or its readers are all in S' and demand it, by
induction from the network's end. The band of S' that it is in holds of every tensor in S at least what this row needs,
and holds it at least as long: what reads it in S reads it in S'. Weights need one sub-group at least.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_spans import Bands, Rows
from tvm_fusion.graph.graph import OperatorGraph


def growth_bound_bytes(group: BandGroup, demanded: Sequence[Rows]) -> int:
    """Bytes that the group and all that it grows into need at least; ``demanded``: see :func:`demanded_rows`."""
    most = 0
    for result in group.results:
        if len(demanded[result]):
            bands = Bands.of_rows(demanded[result], group.model.spans.height[result])
            most = max(most, int(EvaluatedBands(group, bands, {result}).requirement[0]))
    return most


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
