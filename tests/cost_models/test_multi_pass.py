"""Passes with given parameters: values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.graphs import Builder, chain, everything, squeeze_and_excite
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

ACCELERATOR = Accelerator()
# 0 convolution 1 x 1, 1 pooling, 2 convolution, 3 sigmoid, 4 multiply. 56 rows of 4 x 56 bytes; a scale of 4.
EXCITED = squeeze_and_excite()
ROW, SCALE, MAP = 224, 4, 56 * 224
ALL = list(range(5))


def cost(graph: OperatorGraph, split: list[int], mask: int | None = None, **chosen: Any) -> GroupCost:
    found = MultiPassModel(graph, ACCELERATOR).cost(mask or everything(graph), {"split": split, **chosen})
    assert found is not None
    return found


def lines(found: GroupCost) -> dict[int, int]:
    return {buffer.tensor: buffer.lines for buffer in found.buffers}


def executed(graph: OperatorGraph, *split: int) -> list[list[int]]:
    model = MultiPassModel(graph, ACCELERATOR)
    passes = model.group(everything(graph), sum(1 << i for i in split)).passes
    return [list(members(one.executed)) for one in passes]


def test_squeeze_and_excite_with_all_weights_resident() -> None:
    """The second pass needs more: a row of the input, of the map, of the result, and the scale."""
    found = cost(EXCITED, [1], kept=ALL)
    assert executed(EXCITED, 1) == [[0, 1, 2, 3], [0, 4]]
    assert lines(found) == {-1: 1, 0: 1, 1: 1, 2: 0, 3: 1, 4: 1}
    assert found.buffer_bytes == 3 * ROW + SCALE + 32
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (2 * MAP, MAP, 32)
    assert found.recomputed_macs == EXCITED.operators[0].macs
    assert found.macs == 2 * EXCITED.operators[0].macs + EXCITED.operators[2].macs
    assert (found.scheme, found.valid, found.weight_buffer_bytes) == ("two-pass", True, 32)


def test_squeeze_and_excite_with_each_pass_loading_its_own_weights() -> None:
    found = cost(EXCITED, [1], weights="reloaded")
    assert found.buffer_bytes == 3 * ROW + SCALE + 16
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (2 * MAP, MAP, 16 + 16 + 16)
    assert found.parameters == {"split": [1], "kept": [], "weights": "reloaded"}


def test_weights_of_two_passes_in_succession_stay() -> None:
    """The first pass drops the chain's, and the map's convolution is there for the second."""
    found = cost(EXCITED, [1])
    assert found.buffer_bytes == 3 * ROW + SCALE + 16
    assert found.weight_bytes == 32


def test_a_batch_loads_dropped_weights_for_every_image() -> None:
    b = Builder(batch=3)
    t = b.conv(-1, kernel=1)
    b.pointwise(t, b.pointwise(b.conv(b.pool(t), kernel=1), type_="sigmoid"), type_="multiply")
    graph = b.graph()
    assert cost(graph, [1]).weight_bytes == 16 + 3 * 16
    assert cost(graph, [1], weights="reloaded").weight_bytes == 3 * (16 + 16 + 16)
    assert cost(graph, [1], kept=[2]).weight_bytes == 32
    assert cost(graph, [1], kept=[2]).buffer_bytes == 3 * ROW + SCALE + 32
    assert cost(graph, [1]).input_bytes == 3 * 2 * MAP
    assert cost(graph, [1]).recomputed_macs == 3 * graph.operators[0].macs


def two_blocks() -> OperatorGraph:
    """0 convolution, 1 pooling, 2 multiply, then 3 convolution, 4 pooling, 5 multiply; the second needs the first."""
    b = Builder()
    for _ in range(2):
        t = b.conv(-1 if not b.operators else 2)
        b.pointwise(t, b.pool(t), type_="multiply")
    return b.graph()


def test_scales_that_need_one_another_take_three_passes() -> None:
    """Pass 2 holds 3 rows of the input, a row of the first map, 3 of the first product, and a row of the second map."""
    graph = two_blocks()
    found = cost(graph, [1, 4])
    assert executed(graph, 1, 4) == [[0, 1], [0, 2, 3, 4], [0, 2, 3, 5]]
    assert lines(found) == {-1: 3, 0: 1, 1: 1, 2: 3, 3: 1, 4: 1, 5: 1}
    assert found.buffer_bytes == (3 + 1 + 3 + 1 + 1) * ROW + 2 * SCALE + 2 * 144
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (3 * MAP, MAP, 2 * 144)
    assert found.recomputed_macs == 2 * graph.operators[0].macs + graph.operators[3].macs


def test_a_chain_that_is_not_split_off_stays_in_lbdf() -> None:
    """Only the second block's: the first holds its map whole in both passes. Only the first's: the second does."""
    graph = two_blocks()
    second = cost(graph, [4])
    assert executed(graph, 4) == [[0, 1, 2, 3, 4], [0, 1, 2, 3, 5]]
    assert (lines(second)[0], lines(second)[3]) == (56, 1)
    assert second.input_bytes == 2 * MAP
    first = cost(graph, [1])
    assert executed(graph, 1) == [[0, 1], [0, 2, 3, 4, 5]]
    assert (lines(first)[0], lines(first)[3]) == (1, 56)
    assert first.recomputed_macs == graph.operators[0].macs


def test_chains_that_do_not_need_one_another_share_a_pass() -> None:
    b = Builder(inputs=2)
    left, right = b.conv(-1, 1), b.conv(-2, 1)
    scales = b.pool(left), b.pool(right)
    b.pointwise(b.pointwise(left, scales[0]), b.pointwise(right, scales[1]), type_="add")
    graph = b.graph()
    assert executed(graph, 2, 3) == [[0, 1, 2, 3], [0, 1, 4, 5, 6]]
    found = cost(graph, [2, 3])
    assert found.input_bytes == 4 * MAP
    assert found.buffer_bytes == (2 + 2 + 1) * ROW + 2 * SCALE + 32  # both products are in place


def test_a_scale_waits_through_a_pass_that_does_not_read_it() -> None:
    """The first pass makes two scales, of which the second pass reads one and the third both."""
    b = Builder()
    t = b.conv(-1, 1)
    early, late = b.pool(t), b.pool(b.conv(-1, 1))
    made = b.pointwise(t, early, type_="multiply")
    last = b.pool(made)
    b.pointwise(b.pointwise(made, last, type_="multiply"), late, type_="multiply")
    graph = b.graph()
    model = MultiPassModel(graph, ACCELERATOR)
    passes = model.group(everything(graph), 1 << early | 1 << late | 1 << last).passes
    assert [list(members(one.held)) for one in passes] == [[], [late], []]
    found = cost(graph, [early, late, last])
    line_bytes = model.group(everything(graph), 1 << early | 1 << late | 1 << last).line_bytes
    # Input, t, the pooled product (not in place: two read it), the scale at hand, the one made, the one that waits.
    assert line_bytes[1] == 3 * ROW + 3 * SCALE
    assert found.input_bytes == 3 * MAP


def test_what_only_a_chain_reads_is_not_made_again_and_written_by_its_pass() -> None:
    """The scale of a convolution (an output of the network too) for another tensor: the last pass leaves it out."""
    b = Builder(inputs=2)
    t = b.conv(-1)
    b.pointwise(-2, b.pool(t), type_="multiply")
    graph = b.graph(t, 2)
    assert executed(graph, 1) == [[0, 1], [2]]
    found = cost(graph, [1])
    assert (found.input_bytes, found.output_bytes, found.recomputed_macs) == (2 * MAP, 2 * MAP, 0)
    assert found.buffer_bytes == (3 + 1) * ROW + SCALE + 144


def test_a_tensor_made_in_both_passes_is_written_once() -> None:
    graph = squeeze_and_excite()
    written = OperatorGraph("by_hand", graph.inputs, graph.operators, (0, 4))
    assert cost(written, [1]).output_bytes == 2 * MAP
    assert cost(written, [1]).buffer_bytes == cost(graph, [1]).buffer_bytes


def test_a_tensor_with_a_reader_in_another_pass_is_not_in_place() -> None:
    """In pass 1 only the relu reads the convolution, in pass 2 only the sum: in both it has a row."""
    b = Builder()
    t = b.conv(-1, 1)
    scale = b.pool(b.pointwise(t))
    b.pointwise(t, scale, type_="add")
    graph = b.graph()
    assert executed(graph, 2) == [[0, 1, 2], [0, 3]]
    model = MultiPassModel(graph, ACCELERATOR)
    first, second = model.group(everything(graph), 1 << 2).line_bytes
    assert first == 3 * ROW + SCALE
    assert second == 3 * ROW + SCALE


def test_a_group_without_a_chain_is_not_executed_in_passes() -> None:
    b = Builder()
    b.pool(b.conv(-1))
    for graph in (chain(2), b.graph()):
        assert MultiPassModel(graph, ACCELERATOR).cost(everything(graph)) is None
    # The pooling and the product without the map's convolution have one: the map is an input.
    assert MultiPassModel(EXCITED, ACCELERATOR).cost(0b11110) is not None
    assert MultiPassModel(EXCITED, ACCELERATOR).cost(0b01111) is None


@pytest.mark.parametrize(
    ("mask", "parameters", "message"),
    [
        (0, {"split": [1]}, "at least one"),
        (0b100000, {"split": [1]}, r"0 \.\. 4"),
        (0b11111, {}, "allowed: split"),
        (0b11111, {"split": [1], "bands": 2}, r"'bands', 'split'.*allowed: split"),
        (0b11111, {"split": [0]}, r"\[0\].*accumulating operators of the group: \[1\]"),
        (0b11111, {"split": 1}, r"split 1 .*a list"),
        (0b11111, {"split": [True]}, r"\[True\]"),
        (0b11111, {"split": []}, "no operator of several rows waits"),
        (0b00011, {"split": [1]}, "no operator of several rows waits"),
        (0b11111, {"split": [1], "kept": [7]}, r"\[7\].*operators of the group: \[0, 1, 2, 3, 4\]"),
        (0b11111, {"split": [1], "weights": "some"}, "'some'.*shared, reloaded"),
    ],
)
def test_what_is_no_group_or_no_choice_is_refused(mask: int, parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        MultiPassModel(EXCITED, ACCELERATOR).cost(mask, parameters)
