"""BRR of given parameters: values worked out by hand."""

from __future__ import annotations

import pytest

from tests.graphs import Builder, chain, squeeze_and_excite
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph

ACCELERATOR = Accelerator()
# Two 3 x 3 convolutions of 16 rows of 64 bytes; 144 bytes of weights each, 36 a channel.
TWO = chain(2)


def cost(graph: OperatorGraph, bands: int, kept: tuple[int, ...] = (), mask: int | None = None) -> GroupCost:
    return BandModel(graph, ACCELERATOR).cost((1 << len(graph)) - 1 if mask is None else mask, bands, kept)


def lines(found: GroupCost) -> dict[int, int]:
    return {buffer.tensor: buffer.lines for buffer in found.buffers}


def test_one_band_is_the_whole_map() -> None:
    found = cost(TWO, 1)
    assert lines(found) == {-1: 16, 0: 16, 1: 16}
    assert found.buffer_bytes == (16 + 16) * 64 + 36  # the input is gone when the second one runs
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (1024, 1024, 288)
    assert (found.scheme, found.parameters, found.recomputed_macs) == ("brr", {"bands": 1, "kept": []}, 0)


def test_two_bands_share_a_halo() -> None:
    """Rows 0 .. 7 of the result need 0 .. 8 of the first and 0 .. 9 of the input."""
    found = cost(TWO, 2)
    assert lines(found) == {-1: 10, 0: 9, 1: 8}
    assert found.buffer_bytes == (10 + 9) * 64 + 36
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (20 * 64, 1024, 2 * 288)
    row_macs = TWO.operators[0].macs // 16
    assert found.recomputed_macs == 2 * row_macs
    assert found.macs == (16 + 16 + 2) * row_macs


def test_four_bands() -> None:
    """The border of the map cuts a halo off at both ends: 6, 8, 8 and 6 rows of the input."""
    found = cost(TWO, 4)
    assert lines(found) == {-1: 8, 0: 6, 1: 4}
    assert found.buffer_bytes == (8 + 6) * 64 + 36
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == (28 * 64, 1024, 4 * 288)


def test_kept_weights_are_there_throughout_and_move_once() -> None:
    first = cost(TWO, 4, (0,))
    assert first.buffer_bytes == 144 + (8 + 6) * 64  # the first runs without a sub-group, the second with few rows
    assert first.weight_buffer_bytes == 144
    assert first.weight_bytes == 144 + 4 * 144
    second = cost(TWO, 4, (1,))
    assert second.buffer_bytes == 144 + (8 + 6) * 64 + 36
    both = cost(TWO, 4, (0, 1))
    assert both.buffer_bytes == 288 + (8 + 6) * 64
    assert both.weight_bytes == 288


def test_one_operator_alone() -> None:
    found = cost(TWO, 4, mask=0b10)
    assert lines(found) == {0: 6, 1: 4}
    assert found.buffer_bytes == (6 + 4) * 64 + 36
    assert (found.input_bytes, found.output_bytes, found.weight_bytes) == ((5 + 6 + 6 + 5) * 64, 1024, 4 * 144)


def test_a_batch_streams_weights_for_every_band_and_image_and_keeps_them_once() -> None:
    b = Builder(height=16, batch=2)
    b.conv(b.conv(-1))
    found, one = cost(b.graph(), 4, (0,)), cost(TWO, 4, (0,))
    assert (found.input_bytes, found.output_bytes) == (2 * one.input_bytes, 2 * one.output_bytes)
    assert found.weight_bytes == 144 + 2 * 4 * 144
    assert found.buffer_bytes == one.buffer_bytes
    assert found.recomputed_macs == 2 * one.recomputed_macs


def test_a_tensor_is_held_until_its_last_reader_has_run() -> None:
    """A skip over two convolutions: the input's 4 rows and 2 of halo on each side wait for the sum."""
    b = Builder(height=16)
    b.pointwise(-1, b.conv(b.conv(-1)), type_="add")
    found = cost(b.graph(), 4)
    assert lines(found) == {-1: 8, 0: 6, 1: 4, 2: 4}
    assert found.buffer_bytes == (8 + 6 + 4) * 64 + 36  # while the second convolution runs


def test_pointwise_operators_are_not_in_place() -> None:
    b = Builder(height=16)
    b.pointwise(b.pointwise(-1))
    found = cost(b.graph(), 2)
    assert found.buffer_bytes == (8 + 8) * 64
    assert lines(found) == {-1: 8, 0: 8, 1: 8}


def test_a_result_read_inside_is_made_with_its_halo_and_written_once() -> None:
    b = Builder(height=16)
    first = b.conv(-1)
    found = cost(b.graph(first, b.conv(first)), 2)
    assert lines(found) == {-1: 10, 0: 9, 1: 8}
    assert found.output_bytes == 2 * 1024


def test_results_of_other_heights_are_cut_proportionally() -> None:
    """Bands of 16 and of 8 rows; the first row of the lower result's band 1 is 4, which needs input rows 7 .. 9."""
    b = Builder(height=16)
    x = b.conv(-1, 1)
    found = cost(b.graph(b.pointwise(x), b.conv(x, 3, stride=2)), 2)
    assert lines(found) == {-1: 9, 0: 9, 1: 8, 2: 4}
    assert found.input_bytes == (8 + 9) * 64


def test_rows_that_a_stride_skips_are_loaded_once_and_those_outside_bands_not_held() -> None:
    b = Builder(height=16)
    b.conv(-1, 1, stride=4)
    found = cost(b.graph(), 2)
    assert lines(found) == {-1: 5, 0: 2}  # rows 0 .. 4 and 8 .. 12; 5 .. 7 and 13 .. 15 pass by
    assert found.input_bytes == 1024


def test_all_rows_are_made_again_for_every_band() -> None:
    graph = squeeze_and_excite()  # 56 rows
    one, two = cost(graph, 1), cost(graph, 2)
    assert lines(one) == {-1: 56, 0: 56, 1: 1, 2: 1, 3: 1, 4: 56}
    assert lines(two) == {-1: 56, 0: 56, 1: 1, 2: 1, 3: 1, 4: 28}
    assert two.input_bytes == 2 * one.input_bytes
    assert two.recomputed_macs == graph.operators[0].macs + graph.operators[2].macs


def test_more_bands_than_rows_leave_some_empty() -> None:
    found = cost(TWO, 32)
    assert found.weight_bytes == 32 * 288
    assert lines(found) == {-1: 5, 0: 3, 1: 1}


@pytest.mark.parametrize(
    ("mask", "bands", "kept", "message"),
    [
        (0, 1, (), "at least one"),
        (0b100, 1, (), r"0 \.\. 1"),
        (0b11, 0, (), "at least 1 band"),
        (0b1, 2, (1,), r"\[1\] are not all in the group \[0\]"),
    ],
)
def test_what_is_no_group_or_no_choice_is_refused(mask: int, bands: int, kept: tuple[int, ...], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        cost(TWO, bands, kept, mask)


def test_json_names_bands_and_kept_operators() -> None:
    found = cost(TWO, 2, (1,)).to_json()
    assert (found["scheme"], found["parameters"]) == ("brr", {"bands": 2, "kept": [1]})
