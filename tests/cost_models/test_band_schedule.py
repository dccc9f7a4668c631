"""band_schedule: every row that is needed is there, written rows are written once, and what is read is what counts."""

from __future__ import annotations

from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import chain
from tests.strategies import group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.band_schedule import band_schedule
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.graph.graph import members

FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data())
@FEW
def test_schedule_of_groups(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    mask = data.draw(group_masks(graph))
    inside = list(members(mask))
    height = max(graph.tensor(i).height for i in inside)
    count = data.draw(st.integers(1, height + 2))
    model = BandModel(graph, OWN_WIDTHS)
    schedule = band_schedule(model, mask, count)
    cost = model.cost(mask, count)

    for band in range(count):
        for i in inside:
            for row in range(*schedule.spans[i][band]):
                for operand, demand in zip(graph.operators[i].inputs, graph.operators[i].demands, strict=True):
                    first, last = demand.rows(row, graph.tensor(operand).height)
                    there = schedule.spans[operand][band]
                    assert first > last or there[0] <= first <= last < there[1]
    for i, spans in schedule.written.items():
        assert Counter(row for span in spans for row in range(*span)) == Counter(range(graph.tensor(i).height))
        for own, made in zip(spans, schedule.spans[i], strict=True):
            assert own[0] == own[1] or made[0] <= own[0] < own[1] <= made[1]
    loaded = 0
    for t, gaps in schedule.passed.items():
        tensor = graph.tensor(t)
        rows = Counter(row for span in (*schedule.spans[t], *gaps) for row in range(*span))
        assert set(rows) == set(range(tensor.height))
        assert all(rows[row] == 1 for gap in gaps for row in range(*gap))
        loaded += tensor.batch * model.sizes.line_bytes(t, rows.total())
    assert loaded == cost.input_bytes
    assert sorted(t for tensors in schedule.loaded.values() for t in tensors) == sorted(schedule.passed)
    parts = [model.part_bytes[i] + schedule.alive_bytes[i] for i in inside]
    assert max(parts) == cost.buffer_bytes


def test_halo_of_a_convolution() -> None:
    schedule = band_schedule(BandModel(chain(2), OWN_WIDTHS), 3, 2)
    assert schedule.spans == {-1: ((0, 10), (6, 16)), 0: ((0, 9), (7, 16)), 1: ((0, 8), (8, 16))}
    assert schedule.written == {1: ((0, 8), (8, 16))}
    assert schedule.passed == {-1: ()}
    assert schedule.loaded == {0: (-1,), 1: ()}
