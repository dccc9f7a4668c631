"""Channel streaming's simulator, and its equality with the fast form to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channel_assignments import assignments, channel_graphs, inverted_residual
from tests.graphs import everything
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_simulator import simulate_channels
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph

FEW = settings(max_examples=250, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=2500, deadline=None, suppress_health_check=list(HealthCheck))


def assert_equal_to_fast_form(
    graph: OperatorGraph, mask: int, accelerator: Accelerator, assignment: ChannelAssignment
) -> None:
    scheme = ChannelStreaming(graph, accelerator)
    fast = scheme.cost(mask, assignment.to_json())
    slow = scheme.simulate(fast)
    assert slow.buffer_bytes == fast.buffer_bytes
    assert (slow.input_bytes, slow.output_bytes) == (fast.input_bytes, fast.output_bytes)
    assert slow.weight_bytes == fast.weight_bytes
    assert slow.buffers == fast.buffers
    assert 0 < slow.peak_occupancy_bytes <= slow.buffer_bytes
    inputs, outputs = scheme.sizes.boundary_bytes(mask)
    assert fast.input_bytes >= inputs
    assert fast.output_bytes == outputs
    assert fast.weight_bytes >= scheme.sizes.weights(mask)


@given(data=st.data(), graph=channel_graphs())
@FEW
def test_fast_form_equals_simulator_under_any_assignment(data: st.DataObject, graph: OperatorGraph) -> None:
    mask = data.draw(group_masks(graph))
    assert_equal_to_fast_form(graph, mask, data.draw(accelerators()), data.draw(assignments(graph, mask)))


@given(data=st.data(), graph=operator_graphs(max_operators=8))
@FEW
def test_fast_form_equals_simulator_on_any_set_of_operators(data: st.DataObject, graph: OperatorGraph) -> None:
    """Operators of every kind of demand, not even connected."""
    mask = data.draw(st.integers(1, everything(graph)))
    assert_equal_to_fast_form(graph, mask, data.draw(accelerators()), data.draw(assignments(graph, mask)))


@pytest.mark.slow
@given(data=st.data(), graph=channel_graphs(max_operators=16))
@MANY
def test_fast_form_equals_simulator_under_many_assignments(data: st.DataObject, graph: OperatorGraph) -> None:
    mask = data.draw(group_masks(graph))
    assert_equal_to_fast_form(graph, mask, data.draw(accelerators()), data.draw(assignments(graph, mask)))


@given(data=st.data(), graph=channel_graphs())
@FEW
def test_what_is_chosen_executes_as_it_says(data: st.DataObject, graph: OperatorGraph) -> None:
    mask = data.draw(group_masks(graph))
    accelerator = data.draw(accelerators())
    scheme = ChannelStreaming(graph, accelerator)
    cost, fit = scheme.cost(mask), scheme.fit(mask)
    assert_equal_to_fast_form(graph, mask, accelerator, ChannelAssignment.from_json(cost.parameters))
    assert cost.valid == fit.valid == (cost.buffer_bytes <= accelerator.buffer_bytes)
    if fit.valid:
        figures = (cost.dram_bytes, cost.buffer_bytes, cost.recomputed_macs)
        assert figures == (fit.dram_bytes, fit.buffer_bytes, fit.recomputed_macs)


def test_timeline_ends_at_what_moved() -> None:
    graph = inverted_residual()
    scheme = ChannelStreaming(graph, Accelerator())
    cost = scheme.cost(everything(graph))
    slow = scheme.simulate(cost, keep_timeline=True)
    numbers, occupancy, moved = zip(*slow.timeline, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert list(moved) == sorted(moved)
    assert max(occupancy) == slow.peak_occupancy_bytes
    assert occupancy[-1] == 0
    assert moved[-1] == cost.dram_bytes
    assert scheme.simulate(cost).timeline == ()


@pytest.mark.parametrize(
    ("phases", "resident", "message"),
    [
        (((0, 1, 2, 3, 4, 5),), (), "cannot be streamed"),
        (((0, 1, 2, 3, 4), (5,)), (4,), "cannot be streamed"),
        (((0, 1, 2, 3), (4,), (5,)), (-1, 4), "cannot read"),
        (((0, 1, 2, 3, 4), (4, 5)), (-1, 4), "made twice"),
        (((0, 1, 2, 3, 4),), (-1, 4), "not one of the group"),
    ],
)
def test_what_cannot_be_executed_is_refused(
    phases: tuple[tuple[int, ...], ...], resident: tuple[int, ...], message: str
) -> None:
    graph = inverted_residual()
    with pytest.raises(CostModelError, match=message):
        simulate_channels(graph, everything(graph), Accelerator(), ChannelAssignment(phases, resident))
