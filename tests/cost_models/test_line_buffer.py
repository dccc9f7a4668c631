"""The values that the method's page prints, in the fast form."""

from __future__ import annotations

import pytest

from tests.graphs import Builder, chain, everything, residual_block, squeeze_and_excite
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel, line_buffer_cost
from tvm_fusion.graph import OperatorGraph, RowDemand

ACCELERATOR = Accelerator()


def lines(graph: OperatorGraph, mask: int | None = None) -> dict[int, int]:
    return LineBufferModel(graph, ACCELERATOR).lines(mask or everything(graph))


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


def test_dram_bytes_are_the_group_boundary() -> None:
    graph = chain(3)
    cost = line_buffer_cost(graph, 0b011, ACCELERATOR)
    assert (cost.input_bytes, cost.output_bytes, cost.weight_bytes) == (1024, 1024, 2 * 144)
    assert cost.buffer_bytes == sum(buffer.bytes for buffer in cost.buffers) + cost.weight_bytes


def test_batch_moves_activations_for_every_image_and_weights_once() -> None:
    b = Builder(batch=4)
    b.conv(-1)
    one, four = Builder(), line_buffer_cost(b.graph(), 1, ACCELERATOR)
    one.conv(-1)
    single = line_buffer_cost(one.graph(), 1, ACCELERATOR)
    assert four.input_bytes == 4 * single.input_bytes
    assert four.weight_bytes == single.weight_bytes
    assert four.buffer_bytes == single.buffer_bytes
    assert four.macs == 4 * single.macs


def test_a_deep_chain_does_not_exhaust_the_stack() -> None:
    graph = chain(2500)
    assert lines(graph)[1] == 3


def test_lower_bound_is_below_the_requirement() -> None:
    for graph in (residual_block(2), residual_block(3), squeeze_and_excite()):
        model = LineBufferModel(graph, ACCELERATOR)
        assert model.lower_bound_bytes(everything(graph)) <= model.requirement_bytes(everything(graph))


def test_a_single_row_demands_its_operands_in_their_order() -> None:
    """A row of the skip first, then the pooling of all rows: the input is not held for it. Also where it is short."""
    b = Builder(height=16)
    skip = b.conv(-1, 1)
    pooled = b.pool(b.conv(-1, 1))
    b.add("concat", (1, 8, 1, 16), {skip: RowDemand("row"), pooled: RowDemand("row")})
    assert lines(b.graph())[-1] == 1


def test_a_single_row_may_need_nothing() -> None:
    b = Builder(height=16)
    b.add("take", (1, 4, 1, 16), {b.conv(-1): RowDemand("table", first=(1,), last=(0,))})
    assert lines(b.graph()) == {-1: 1, 0: 1, 1: 1}
