"""The simulator: the page's known values, and equality with the fast form to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, chain, everything, residual_block, squeeze_and_excite
from tests.strategies import accelerators, convex_hull, group_masks, operator_graphs, partitions
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import line_buffer_cost
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.plan_timeline import simulate_plan
from tvm_fusion.cost_models.simulator import SimulationResult, simulate_line_buffer
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph, RowDemand
from tvm_fusion.graph.plan import PartitionPlan

ACCELERATOR = Accelerator()
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))


def assert_equal_to_fast_form(graph: OperatorGraph, mask: int, accelerator: Accelerator) -> SimulationResult:
    fast = line_buffer_cost(graph, mask, accelerator)
    slow = simulate_line_buffer(graph, mask, accelerator)
    assert slow.buffers == fast.buffers
    assert slow.buffer_bytes == fast.buffer_bytes
    assert (slow.input_bytes, slow.output_bytes) == (fast.input_bytes, fast.output_bytes)
    assert slow.weight_bytes == fast.weight_bytes == fast.weight_buffer_bytes
    assert slow.peak_occupancy_bytes <= slow.buffer_bytes
    return slow


def lines(graph: OperatorGraph) -> dict[int, int]:
    result = assert_equal_to_fast_form(graph, everything(graph), ACCELERATOR)
    return {buffer.tensor: buffer.lines for buffer in result.buffers}


@pytest.mark.parametrize(("kernel", "stride", "expected"), [(3, 1, 3), (3, 2, 3), (1, 1, 1)])
def test_one_convolution(kernel: int, stride: int, expected: int) -> None:
    b = Builder()
    b.conv(-1, kernel, stride)
    assert lines(b.graph()) == {-1: expected, 0: 1}


def test_conv_relu_conv_keeps_the_first_result_in_place() -> None:
    b = Builder()
    b.conv(b.pointwise(b.conv(-1)))
    assert lines(b.graph()) == {-1: 3, 0: 0, 1: 3, 2: 1}


def test_residual_blocks() -> None:
    assert lines(residual_block(2)) == {-1: 3, 0: 0, 1: 3, 2: 0, 3: 0, 4: 1}
    assert lines(residual_block(3))[-1] == 4


def test_global_pooling_holds_nothing() -> None:
    b = Builder()
    b.pool(b.conv(-1, 1))
    assert lines(b.graph()) == {-1: 1, 0: 1, 1: 1}


def test_squeeze_and_excite_holds_the_map() -> None:
    graph = squeeze_and_excite()
    found = lines(graph)
    assert found[0] == graph.operators[0].height == 56
    assert found[1] == 1


def test_flatten_holds_all_rows() -> None:
    b = Builder(height=8)
    b.dense(b.flatten(b.conv(-1)))
    assert lines(b.graph())[0] == 8


def test_an_output_inside_the_group_is_not_in_place() -> None:
    b = Builder()
    first = b.conv(-1)
    last = b.pointwise(first)
    assert lines(b.graph(first, last)) == {-1: 3, 0: 1, 1: 1}


def test_later_merge_of_two_in_place_tensors_has_a_row_of_its_own() -> None:
    b = Builder()
    one, two, three = b.conv(-1, 1), b.conv(-1, 1), b.conv(-1, 1)
    merge = b.pointwise(two, three, type_="add")
    b.pointwise(one, merge, type_="add")
    found = lines(b.graph())
    assert (found[one], found[two], found[three], found[merge]) == (0, 0, 0, 1)


def test_first_merge_of_two_in_place_tensors_is_in_place() -> None:
    b = Builder()
    merge = b.pointwise(b.conv(-1, 1), b.conv(-1, 1), type_="add")
    b.pointwise(b.conv(-1, 1), merge, type_="add")
    assert lines(b.graph())[merge] == 0


def test_a_group_input_read_by_a_pointwise_operator_has_a_row() -> None:
    b = Builder()
    b.pointwise(-1)
    assert lines(b.graph()) == {-1: 1, 0: 1}


def test_rows_that_nobody_reads_are_loaded_but_not_held() -> None:
    b = Builder(height=8)
    b.conv(-1, kernel=1, stride=4)
    graph = b.graph()
    assert lines(graph) == {-1: 1, 0: 1}
    assert simulate_line_buffer(graph, 1, ACCELERATOR).input_bytes == 8 * 8 * 4


def test_rows_of_an_inner_tensor_that_nobody_reads_are_not_made() -> None:
    """Its reader crops 2 of 8 rows, so the flatten behind it holds 2 rows and the input 1."""
    b = Builder(height=8)
    first = b.conv(-1, 1)
    cropped = b.add("slice", (1, 4, 2, 8), {first: RowDemand("row")})
    b.flatten(cropped)
    assert lines(b.graph()) == {-1: 1, 0: 1, 1: 2, 2: 1}


def test_a_window_wholly_in_the_padding_demands_row_0() -> None:
    """Output rows 0 and 1 need row 0, and so does the last one: row 0 is never free."""
    b = Builder(height=4)
    b.conv(-1, kernel=1, padding=(2, 1))
    assert lines(b.graph()) == {-1: 4, 0: 1}


def test_last_operators_of_different_height_advance_together() -> None:
    """A single row acts in the last step only; the other branch needs no more than its window."""
    b = Builder()
    x = b.conv(-1, 1)
    tall, flat = b.conv(x), b.pool(x)
    half = b.conv(x, stride=2)
    assert lines(b.graph(tall, flat, half)) == {-1: 1, x: 3, tall: 1, flat: 1, half: 1}


def test_batch_moves_activations_for_every_image_and_weights_once() -> None:
    one, four = Builder(), Builder(batch=4)
    one.conv(-1)
    four.conv(-1)
    single = simulate_line_buffer(one.graph(), 1, ACCELERATOR, keep_timeline=True)
    several = simulate_line_buffer(four.graph(), 1, ACCELERATOR, keep_timeline=True)
    assert several.input_bytes == 4 * single.input_bytes
    assert several.output_bytes == 4 * single.output_bytes
    assert several.weight_bytes == single.weight_bytes
    assert several.buffer_bytes == single.buffer_bytes
    assert len(several.timeline) - 1 == 4 * (len(single.timeline) - 1)
    assert several.timeline[-1][2] == several.dram_bytes


def test_a_deep_chain_does_not_exhaust_the_stack() -> None:
    assert lines(chain(2500))[1] == 3


def test_momentary_occupancy_counts_only_rows_that_are_there() -> None:
    """1 x 1 convolution of 2 rows of 8 bytes: weights, a row in, a row out, and both go again."""
    b = Builder(height=2)
    b.conv(-1, kernel=1)
    result = simulate_line_buffer(b.graph(), 1, ACCELERATOR, keep_timeline=True)
    load, compute, store, free = (24, 24), (32, 24), (32, 32), (24, 32)
    assert [entry[1:] for entry in result.timeline[:6]] == [(16, 16), load, compute, store, free, (16, 32)]
    assert (result.peak_occupancy_bytes, result.buffer_bytes) == (32, 32)


@pytest.mark.parametrize("mask", [0, -1, 0b100])
def test_a_mask_that_is_no_group_is_refused(mask: int) -> None:
    with pytest.raises(CostModelError, match=r"0 \.\. 1"):
        simulate_line_buffer(chain(2), mask, ACCELERATOR)


@given(data=st.data())
@FEW
def test_fast_form_equals_simulator_on_groups(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    assert_equal_to_fast_form(graph, data.draw(group_masks(graph)), data.draw(accelerators()))


@given(graph=operator_graphs(), accelerator=accelerators())
@FEW
def test_fast_form_equals_simulator_on_whole_graphs(graph: OperatorGraph, accelerator: Accelerator) -> None:
    assert_equal_to_fast_form(graph, everything(graph), accelerator)


@given(data=st.data())
@FEW
def test_fast_form_equals_simulator_on_any_set_of_operators(data: st.DataObject) -> None:
    """Not even connected: both only follow the schedule."""
    graph = data.draw(operator_graphs())
    assert_equal_to_fast_form(graph, data.draw(st.integers(1, everything(graph))), data.draw(accelerators()))


@given(data=st.data())
@FEW
def test_fast_form_equals_simulator_where_it_jumps(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(regular=True))
    for mask in (data.draw(group_masks(graph)), everything(graph)):
        assert_equal_to_fast_form(graph, mask, ACCELERATOR)


@pytest.mark.slow
@pytest.mark.parametrize("regular", [False, True])
@given(data=st.data())
@MANY
def test_fast_form_equals_simulator_on_many_groups(regular: bool, data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=20, regular=regular))
    accelerator = data.draw(accelerators())
    for mask in (data.draw(group_masks(graph)), data.draw(st.integers(1, everything(graph))), everything(graph)):
        assert_equal_to_fast_form(graph, mask, accelerator)


@given(data=st.data())
@FEW
def test_timeline_ends_at_the_total_and_peaks_at_the_peak(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    mask, accelerator = data.draw(group_masks(graph)), data.draw(accelerators())
    result = simulate_line_buffer(graph, mask, accelerator, keep_timeline=True)
    numbers, occupancy, moved = zip(*result.timeline, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert list(moved) == sorted(moved)
    assert moved[0] == occupancy[0] == occupancy[-1] == result.weight_bytes
    assert moved[-1] == result.dram_bytes
    assert max(occupancy) == result.peak_occupancy_bytes
    assert simulate_line_buffer(graph, mask, accelerator).timeline == ()


@given(data=st.data())
@FEW
def test_timeline_of_a_plan(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    plan = data.draw(partitions(graph))
    oracle = Oracle(graph, data.draw(accelerators()))
    points = data.draw(st.integers(1, 300))
    found = simulate_plan(graph, plan, oracle, max_points=points)
    groups = [oracle.cost(mask) for mask in plan.masks]
    assert len(found.occupancy_bytes) == len(found.dram_bytes) <= max(points, 2 * len(groups))
    assert found.dram_bytes[-1] == sum(cost.dram_bytes for cost in groups)
    assert list(found.dram_bytes) == sorted(found.dram_bytes)
    assert len(found.group_starts) == len(set(found.group_starts)) == len(groups)
    assert found.group_starts[0] == 0
    bounds = [*found.group_starts, len(found.occupancy_bytes)]
    for k, cost in enumerate(groups):
        part = found.occupancy_bytes[bounds[k] : bounds[k + 1]]
        peak = cost.buffer_bytes
        if cost.scheme == "lbdf":
            peak = simulate_line_buffer(graph, plan.masks[k], oracle.accelerator).peak_occupancy_bytes
        assert max(part) == peak <= cost.buffer_bytes


def test_a_layer_by_layer_group_is_flat() -> None:
    graph = chain(2)
    oracle = Oracle(graph, Accelerator(buffer_bytes=64))
    found = simulate_plan(graph, PartitionPlan.from_masks(graph, [1, 2]), oracle)
    assert set(found.occupancy_bytes) == {64}
    assert found.group_starts == (0, 16)
    assert found.dram_bytes[-1] == oracle.unfused_dram_bytes


@given(data=st.data())
@FEW
def test_strategies_give_groups_and_plans(data: st.DataObject) -> None:
    """What the other properties rest on."""
    graph = data.draw(operator_graphs())
    mask = data.draw(group_masks(graph))
    assert graph.is_connected(mask)
    assert convex_hull(graph, mask) == mask
    plan = data.draw(partitions(graph))
    assert sum(plan.masks) == everything(graph)
