"""Channel streaming of given assignments: values worked out by hand."""

from __future__ import annotations

from typing import Any

import pytest

from tests.channel_assignments import inverted_residual
from tests.graphs import Builder, everything, residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph


def cost(graph: OperatorGraph, phases: list[list[int]], resident: list[int]) -> GroupCost:
    scheme = ChannelStreaming(graph, Accelerator())
    return scheme.cost(everything(graph), {"phases": phases, "resident": resident})


def moved(found: GroupCost) -> tuple[int, int, int]:
    return found.input_bytes, found.output_bytes, found.weight_bytes


# 8 x 8 maps of 4 channels (256 bytes) between, 24 channels (64 bytes each) inside. Weights: 120 of the expansion (5 a
# channel), 240 depthwise (10 a channel), 100 of the projection (5 an input channel).
RESIDUAL = inverted_residual()


def test_inverted_residual() -> None:
    """The narrow maps stay; both activations have a channel, the convolutions before them are in place."""
    found = cost(RESIDUAL, [[0, 1, 2, 3, 4], [5]], [-1, 4])
    assert found.buffer_bytes == 256 + 4 * 256 + 2 * 64 + (5 + 10 + 5)  # the second phase: 256 + 256 + 64
    assert moved(found) == (256, 256, 120 + 240 + 100)
    assert (found.scheme, found.recomputed_macs, found.weight_buffer_bytes) == ("channel-streaming", 0, 0)
    buffers = {buffer.tensor: (buffer.lines, buffer.bytes) for buffer in found.buffers}
    assert buffers == {-1: (4, 256), 0: (0, 0), 1: (1, 64), 2: (0, 0), 3: (1, 64), 4: (4, 1024), 5: (1, 64)}


def test_an_input_that_is_streamed_twice_moves_twice() -> None:
    found = cost(RESIDUAL, [[0], [1, 2, 3, 4], [5]], [0, 4])
    assert moved(found) == (2 * 256, 256, 460)
    # Sums of 24 channels; the input's own channel; 120 bytes of weights for 4 input channels.
    first = 4 * 24 * 64 + 64 + 30
    assert found.buffer_bytes == first
    # The expansion's result at activation size, the projection's sums, two activations' channels.
    second = 24 * 64 + 4 * 256 + 2 * 64 + 15
    assert second < first


def test_squeeze_and_excite_is_executed_twice() -> None:
    """0 .. 3 expand and depthwise, 4 the pool, 5 .. 8 one row, 9 the scaling, 10 the projection, 11 the sum."""
    graph = inverted_residual(excite=True)
    phases = [[0, 1, 2, 3, 4, 5], [6], [7, 8], [0, 1, 2, 3, 9, 10], [11]]
    found = cost(graph, phases, [-1, 4, 5, 6, 7, 8, 10])
    twice = 256 + 24 + 4 * 256 + 3 * 64 + (5 + 10 + 5)  # input, scale, sums; 1, 3 and 9 have a channel; weights
    assert found.buffer_bytes == twice
    assert moved(found) == (256, 256, 2 * (120 + 240) + 100 + 120 + 100)
    again = graph.operators[0].macs + graph.operators[2].macs
    assert found.recomputed_macs == again
    assert found.macs == sum(op.macs for op in graph.operators) + again
    # The choice: so as long as the expanded map (1536 bytes) cannot be held beside input, pool, scale and sums.
    fit = ChannelStreaming(graph, Accelerator(buffer_bytes=twice)).fit(everything(graph))
    assert (fit.valid, fit.dram_bytes, fit.recomputed_macs) == (True, found.dram_bytes, again)
    held = 256 + 1536 + 24 + 4 * 256 + 64 + 5
    fit = ChannelStreaming(graph, Accelerator(buffer_bytes=held)).fit(everything(graph))
    assert (fit.valid, fit.dram_bytes, fit.recomputed_macs) == (True, found.dram_bytes - 360, 0)


def test_without_recomputation_nothing_runs_twice() -> None:
    graph = inverted_residual(excite=True)
    buffer = Accelerator(buffer_bytes=1600)
    assert ChannelStreaming(graph, buffer).fit(everything(graph)).valid
    assert not ChannelStreaming(graph, buffer, recompute=False).fit(everything(graph)).valid
    least = ChannelStreaming(graph, buffer, recompute=False).cost(everything(graph))
    assert (least.valid, least.recomputed_macs) == (False, 0)
    assert least.buffer_bytes > 1600


def test_residual_block() -> None:
    """Sum and last activation take the memory of the block's input; both convolutions are in place."""
    graph = residual_block()  # 56 x 56 maps of 4 channels, 36 weights a channel
    found = cost(graph, [[0, 1], [2, 3, 4]], [-1, 1, 3, 4])
    assert found.buffer_bytes == 2 * 4 * 56 * 56 + 36
    assert moved(found) == (12544, 12544, 288)
    chosen = ChannelStreaming(graph, Accelerator(buffer_bytes=found.buffer_bytes)).fit(everything(graph))
    assert (chosen.valid, chosen.dram_bytes) == (True, found.dram_bytes)
    assert not ChannelStreaming(graph, Accelerator(buffer_bytes=found.buffer_bytes - 1)).fit(everything(graph)).valid


def test_a_result_does_not_take_memory_that_a_window_still_reads() -> None:
    """x + depthwise(x): the depthwise convolution is in place of the sum, so the sum has memory of its own."""
    b = Builder(height=4)
    inner = b.add("depthwise_conv2d", (1, 4, 4, 4), {-1: b_window()}, weight_elements=36)
    b.pointwise(-1, inner, type_="add")
    assert cost(b.graph(), [[0, 1]], [-1, 1]).buffer_bytes == 64 + 64 + 9
    assert cost(b.graph(), [[0, 1]], [-1]).buffer_bytes == 64 + 16 + 9


def b_window() -> Any:
    from tvm_fusion.graph import RowDemand

    return RowDemand("window", 3, 1, 1)


def test_a_batch_passes_weights_for_every_image() -> None:
    graph = inverted_residual(batch=3)
    found = cost(graph, [[0, 1, 2, 3, 4], [5]], [-1, 4])
    one = cost(RESIDUAL, [[0, 1, 2, 3, 4], [5]], [-1, 4])
    assert moved(found) == tuple(3 * part for part in moved(one))
    assert found.buffer_bytes == one.buffer_bytes


def test_accumulator_bits() -> None:
    narrow = ChannelStreaming(RESIDUAL, Accelerator(accumulator_bits=16))
    found = narrow.cost(everything(RESIDUAL), {"phases": [[0, 1, 2, 3, 4], [5]], "resident": [-1, 4]})
    assert found.buffer_bytes == 256 + 2 * 256 + 2 * 64 + 20


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"phases": [[0]]}, "needed are 'phases' and 'resident'"),
        ({"phases": 3, "resident": []}, "as lists"),
        ({"phases": [["a"]], "resident": []}, "'a'"),
        ({"phases": [[0, 9]], "resident": []}, "9, which is not in the group"),
        ({"phases": [[0]], "resident": [-4]}, "resident tensor -4"),
        ({"phases": [[0, 1, 2, 3, 4], [5]], "resident": [-1]}, "operator 4 is not made channel by channel"),
        ({"phases": [[0, 1, 2, 3, 4, 5]], "resident": [-1, 4]}, "reads 4, which is complete only"),
        ({"phases": [[0, 1], [2, 3, 4], [5]], "resident": [-1, 4]}, "reads 1, which is neither held nor made"),
        ({"phases": [[0, 1, 2, 3, 4], [0, 5]], "resident": [-1, 0, 4]}, "operator 0, whose result is resident"),
        ({"phases": [[0, 1, 2, 3, 4]], "resident": [-1, 4]}, r"operators \[5\] of the group stand in no phase"),
    ],
)
def test_parameters_that_are_none_are_refused(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(CostModelError, match=message):
        ChannelStreaming(RESIDUAL, Accelerator()).cost(everything(RESIDUAL), parameters)


@pytest.mark.parametrize("mask", [0, 1 << 6])
def test_a_mask_that_is_no_group_is_refused(mask: int) -> None:
    with pytest.raises(CostModelError, match="at least one"):
        ChannelStreaming(RESIDUAL, Accelerator()).cost(mask)
