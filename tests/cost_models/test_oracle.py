"""What every search relies on: the oracle's fast answers, its bounds, and the totals of plans."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, chain, everything, residual_block
from tests.strategies import accelerators, group_masks, operator_graphs, partitions
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.simulator import simulate_line_buffer
from tvm_fusion.errors import CostModelError, PlanError
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members
from tvm_fusion.graph.plan import Group, PartitionPlan

FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data(), schemes=st.sampled_from(("lbdf", "brr", "lbdf,brr")))
@FEW
def test_a_group_of_several_is_valid_where_its_requirement_fits(data: st.DataObject, schemes: str) -> None:
    """The requirement is the least of all schemes: explainers judge by it."""
    graph = data.draw(operator_graphs())
    accelerator = data.draw(accelerators())
    oracle = Oracle(graph, accelerator, schemes)
    mask = data.draw(group_masks(graph))
    needed = oracle.requirement_bytes(mask)
    if mask & (mask - 1):
        assert oracle.evaluate(mask)[0] == (needed <= accelerator.buffer_bytes)
    alone = [Oracle(graph, accelerator, name).requirement_bytes(mask) for name in schemes.split(",")]
    assert needed == min(alone)


@given(data=st.data())
@FEW
def test_evaluate_agrees_with_cost(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    oracle = Oracle(graph, data.draw(accelerators()))
    mask = data.draw(group_masks(graph))
    valid, dram_bytes, buffer_bytes = oracle.evaluate(mask)
    cost = oracle.cost(mask)
    assert (valid, dram_bytes) == (cost.valid, cost.dram_bytes)
    if valid:
        assert buffer_bytes == cost.buffer_bytes
    else:
        assert oracle.accelerator.buffer_bytes < buffer_bytes <= cost.buffer_bytes


@given(data=st.data())
@FEW
def test_validity_is_what_the_simulator_says(data: st.DataObject) -> None:
    """LBDF exactly where the simulated requirement fits; alone, whatever does not fit goes layer by layer."""
    graph = data.draw(operator_graphs())
    oracle = Oracle(graph, data.draw(accelerators()))
    mask = data.draw(group_masks(graph))
    fits = simulate_line_buffer(graph, mask, oracle.accelerator).buffer_bytes <= oracle.accelerator.buffer_bytes
    single = mask & (mask - 1) == 0
    assert oracle.cost(mask).valid == (fits or single)
    assert oracle.cost(mask).scheme == ("layer" if single and not fits else "lbdf")
    assert single is False or bool(oracle.fusable_mask & mask) == fits


@given(data=st.data())
@FEW
def test_lower_bounds_are_sound(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    model = LineBufferModel(graph, data.draw(accelerators()))
    mask = data.draw(group_masks(graph))
    needed = simulate_line_buffer(graph, mask, model.accelerator).buffer_bytes
    assert model.sizes.weights(mask) <= model.lower_bound_bytes(mask) <= needed


@given(data=st.data())
@FEW
def test_no_group_moves_less_than_its_boundary_and_weights(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    oracle = Oracle(graph, data.draw(accelerators()))
    mask = data.draw(group_masks(graph))
    least = simulate_line_buffer(graph, mask, oracle.accelerator).dram_bytes
    cost = oracle.cost(mask)
    assert cost.dram_bytes >= least
    if cost.scheme == "lbdf":
        assert cost.dram_bytes == least
    assert cost.dram_bytes == cost.input_bytes + cost.output_bytes + cost.weight_bytes
    assert min(cost.input_bytes, cost.output_bytes, cost.weight_bytes) >= 0
    assert cost.estimated_cycles > 0 or cost.dram_bytes == 0


@given(data=st.data())
@FEW
def test_totals_of_plans(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    oracle = Oracle(graph, data.draw(accelerators()))
    plan = data.draw(partitions(graph))
    found = evaluate_plan(graph, plan, oracle)
    assert found.network_dram_bytes == sum(cost.dram_bytes for cost in found.costs)
    assert found.network_dram_bytes >= found.compulsory_dram_bytes == oracle.compulsory_dram_bytes
    assert found.network_dram_bytes <= found.unfused_dram_bytes
    alone = sum(
        oracle.cost(1 << i).dram_bytes
        for i in range(len(graph))
        if not oracle.fusable_mask >> i & 1 and 1 << i in plan.masks
    )
    assert found.fusable_dram_bytes == found.network_dram_bytes - alone
    assert found.valid == all(oracle.evaluate(mask)[0] for mask in plan.masks)
    assert [set(cost.operators) for cost in found.costs] == [set(group.operators) for group in plan.groups]
    totals = found.to_json()["totals"]
    assert totals["network_dram_bytes"] == sum(group["dram_bytes"]["total"] for group in found.to_json()["groups"])


@given(data=st.data())
@FEW
def test_compulsory_traffic_is_that_of_the_whole_network(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    oracle = Oracle(graph, data.draw(accelerators()))
    assert oracle.compulsory_dram_bytes == simulate_line_buffer(graph, everything(graph), oracle.accelerator).dram_bytes
    plan = PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])
    assert evaluate_plan(graph, plan, oracle).network_dram_bytes == oracle.unfused_dram_bytes


def test_a_buffer_that_is_exactly_full_works() -> None:
    graph = residual_block()
    needed = Oracle(graph, Accelerator()).cost(everything(graph)).buffer_bytes
    assert Oracle(graph, Accelerator(buffer_bytes=needed)).evaluate(everything(graph))[0]
    assert not Oracle(graph, Accelerator(buffer_bytes=needed - 1)).evaluate(everything(graph))[0]


def test_groups_are_computed_once() -> None:
    graph = chain(4)
    oracle = Oracle(graph, Accelerator())
    before = oracle.evaluated
    assert oracle.cost(0b11) is oracle.cost(0b11)
    assert oracle.evaluate(0b11) is oracle.evaluate(0b11)
    assert oracle.evaluated == before + 1


def test_weights_of_a_group_grow_with_it() -> None:
    oracle = Oracle(chain(3), Accelerator())
    assert [oracle.weight_bytes(mask) for mask in (0b1, 0b11, 0b111)] == [144, 288, 432]


def test_an_operator_larger_than_the_buffer_by_its_weights_executes_layer_by_layer() -> None:
    graph = chain(2)
    oracle = Oracle(graph, Accelerator(buffer_bytes=100))
    assert oracle.fusable_mask == 0
    assert [oracle.cost(1 << i).scheme for i in members(everything(graph))] == ["layer", "layer"]
    plan = PartitionPlan.from_masks(graph, [1, 2])
    found = evaluate_plan(graph, plan, oracle)
    assert found.valid
    assert found.fusable_dram_bytes == 0
    assert found.network_dram_bytes == found.unfused_dram_bytes > found.compulsory_dram_bytes


def test_a_larger_group_that_does_not_fit_makes_the_plan_invalid() -> None:
    graph = chain(2)
    oracle = Oracle(graph, Accelerator(buffer_bytes=100))
    assert not evaluate_plan(graph, PartitionPlan.from_masks(graph, [3]), oracle).valid


def test_wrong_plans_are_refused() -> None:
    graph = chain(2)
    oracle = Oracle(graph, Accelerator())
    with pytest.raises(PlanError, match="is in no group"):
        evaluate_plan(graph, PartitionPlan((Group((0,)),)), oracle)
    with pytest.raises(PlanError, match="'magic'"):
        evaluate_plan(graph, PartitionPlan((Group((0, 1), "magic"),)), oracle)


def test_a_network_without_operators_is_refused() -> None:
    with pytest.raises(CostModelError, match="no operator"):
        Oracle(OperatorGraph("empty", tuple(Builder().inputs), (), ()), Accelerator())
