"""Passes: the fast form is equal to the simulator to the byte, whatever is split off and kept."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.graphs import everything
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.multi_pass import MultiPass
from tvm_fusion.cost_models.simulator import RowExecution
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def assert_equal_to_simulator(scheme: MultiPass, cost: GroupCost) -> None:
    slow = scheme.simulate(cost, keep_timeline=True)
    assert slow.buffers == cost.buffers
    assert slow.buffer_bytes == cost.buffer_bytes
    assert (slow.input_bytes, slow.output_bytes, slow.weight_bytes) == (
        cost.input_bytes,
        cost.output_bytes,
        cost.weight_bytes,
    )
    assert slow.recomputed_macs == cost.recomputed_macs
    assert slow.peak_occupancy_bytes <= slow.buffer_bytes
    numbers, occupancy, moved = zip(*slow.timeline, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert (max(occupancy), moved[-1]) == (slow.peak_occupancy_bytes, slow.dram_bytes)
    assert list(moved) == sorted(moved)
    assert min(occupancy) >= 0
    mask = sum(1 << i for i in cost.operators)
    sizes = scheme.sizes
    input_bytes, output_bytes = sizes.boundary_bytes(mask)
    assert cost.input_bytes >= input_bytes
    assert cost.output_bytes == output_bytes
    assert cost.weight_bytes >= sizes.weights(mask)
    assert scheme.growth_bound_bytes(mask) <= cost.buffer_bytes
    assert cost.recomputed_macs >= 0


def draw_parameters(data: st.DataObject, scheme: MultiPass, mask: int) -> dict[str, object]:
    """Any parameters that split something off."""
    units = scheme.model.chains.units(mask)
    assume(units)
    heads = data.draw(st.sets(st.sampled_from(list(members(mask & scheme.model.chains.heads)))))
    # At least one chain that somebody waits for.
    heads |= set(members(data.draw(st.sampled_from(units))))
    kept = data.draw(st.sets(st.sampled_from(list(members(mask)))))
    return {
        "split": sorted(heads),
        "kept": sorted(kept),
        "weights": data.draw(st.sampled_from(("shared", "reloaded"))),
    }


def compare(data: st.DataObject, graph: OperatorGraph, masks: list[int]) -> None:
    scheme = MultiPass(graph, data.draw(accelerators()))
    for mask in masks:
        cost = scheme.cost(mask)
        assert (cost is None) == (not scheme.model.chains.units(mask))
        if cost is not None:
            assert_equal_to_simulator(scheme, cost)
            given_ = scheme.cost(mask, draw_parameters(data, scheme, mask))
            assert given_ is not None
            assert_equal_to_simulator(scheme, given_)


@given(data=st.data(), graph=operator_graphs(chains=True))
@FEW
def test_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    compare(data, graph, [data.draw(group_masks(graph)), everything(graph)])


@given(data=st.data(), graph=operator_graphs(regular=True, chains=True))
@FEW
def test_tall_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    compare(data, graph, [everything(graph)])


@given(data=st.data(), graph=operator_graphs(chains=True))
@FEW
def test_any_set_of_operators(data: st.DataObject, graph: OperatorGraph) -> None:
    """Not even connected: both only follow the definition."""
    compare(data, graph, [data.draw(st.integers(1, everything(graph)))])


@pytest.mark.slow
@pytest.mark.parametrize("regular", [False, True])
@given(data=st.data())
@MANY
def test_many_groups(regular: bool, data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=16, regular=regular, chains=True))
    masks = [data.draw(group_masks(graph)), data.draw(st.integers(1, everything(graph))), everything(graph)]
    compare(data, graph, masks)


@given(data=st.data(), graph=operator_graphs(chains=True))
@FEW
def test_line_buffers_of_a_pass_without_jumps(data: st.DataObject, graph: OperatorGraph) -> None:
    """A group whose last operators are all of one row is executed as a sequence, in which periods are skipped."""
    scheme = MultiPass(graph, data.draw(accelerators()))
    mask = everything(graph) & ~sum(1 << i for i in range(len(graph)) if graph.successor_masks[i] == 0)
    heads = [i for i in members(mask) if scheme.model.chains.heads >> i & 1]
    assume(heads)
    head = data.draw(st.sampled_from(heads))
    executed = graph.ancestor_masks[head] | 1 << head
    run = RowExecution(graph, executed, scheme.accelerator, {head})
    run.run()
    expected = {i: 0 if state.in_place else max(1, state.peak) for i, state in run.state.items()}
    assert scheme.model.lines.lines(executed, {head}) == expected
