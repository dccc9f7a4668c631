"""Spans of many bands at once against spans row by row."""

from __future__ import annotations

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.strategies import group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.band_group import BandGroup
from tvm_fusion.cost_models.band_spans import Bands
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.row_spans import NO_ROWS, demanded, hull, share
from tvm_fusion.graph import OperatorGraph

FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data(), graph=operator_graphs())
@FEW
def test_spans_are_those_of_row_spans(data: st.DataObject, graph: OperatorGraph) -> None:
    group = BandGroup(BandModel(graph, Accelerator()), data.draw(group_masks(graph)))
    counts = data.draw(st.lists(st.integers(1, 9), min_size=1, max_size=3))
    found = group.model.spans.spans(group.inside, group.results, Bands.of(counts))
    at = 0
    for count in counts:
        for band in range(count):
            spans = dict.fromkeys([*group.inputs, *group.inside], NO_ROWS)
            for i in reversed(group.inside):
                op = graph.operators[i]
                if i in group.results:
                    spans[i] = hull(spans[i], share(op.height, band, count))
                for operand, demand in zip(op.inputs, op.demands, strict=True):
                    needed = demanded(demand, spans[i], graph.tensor(operand).height)
                    spans[operand] = hull(spans[operand], needed)
            for i, (first, end) in spans.items():
                expected = (first, end) if first < end else (graph.tensor(i).height, 0)
                assert (found[i][0][at], found[i][1][at]) == expected
            at += 1


@given(data=st.data(), height=st.integers(1, 12))
@FEW
def test_missing_rows(data: st.DataObject, height: int) -> None:
    """In any order, overlapping or apart, with and without rows."""
    counts = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    bounds = [sorted(data.draw(st.tuples(st.integers(0, height), st.integers(0, height)))) for _ in range(sum(counts))]
    first, end = np.array([a if a < b else height for a, b in bounds]), np.array([b if a < b else 0 for a, b in bounds])
    missing = Bands.of(counts).missing(first, end, height)
    at = 0
    for k, count in enumerate(counts):
        rows = {row for a, b in bounds[at : at + count] for row in range(a, b)}
        assert missing[k] == height - len(rows)
        at += count


def test_shares_are_whole_and_even() -> None:
    assert [share(7, part, 3) for part in range(3)] == [(0, 2), (2, 4), (4, 7)]
    assert [share(2, part, 4) for part in range(4)] == [(0, 0), (0, 1), (1, 1), (1, 2)]
