"""channels_together: small maps of many channels that convolutions with a window read or add up, and what shares their
places."""

from __future__ import annotations

import pytest

from tests.channel_assignments import depthwise, project
from tests.graphs import Builder
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.passes.lowering.channel_layouts import channels_together
from tvm_fusion.passes.lowering.channel_phases import ChannelPhases


def found(b: Builder, phases: list[list[int]], resident: list[int]) -> set[int]:
    """Tensors of a graph whose channels lie together."""
    assignment = ChannelAssignment(tuple(map(tuple, phases)), tuple(resident))
    return set(channels_together(ChannelPhases(b.graph(), assignment)))


@pytest.mark.parametrize(("size", "channels", "expected"), [(7, 64, {-1, 1}), (7, 8, set()), (20, 64, set())])
def test_small_maps_of_many_channels(size: int, channels: int, expected: set[int]) -> None:
    """The input, which a convolution reads, and the sums of the second one; the stream between them has one channel."""
    b = Builder(height=size, channels=channels)
    b.conv(b.conv(-1))
    assert found(b, [[0, 1]], [-1, 1]) == expected


def test_what_takes_their_memory() -> None:
    """The sum takes the memory of the input, the relu that of the sum."""
    b = Builder(height=7, channels=64)
    total = b.pointwise(-1, b.conv(b.conv(-1)), type_="add")
    b.pointwise(total)
    phases = ChannelPhases(b.graph(), ChannelAssignment(((0, 1), (2,), (3,)), (-1, 1, 2, 3)))
    assert [phase.taken for phase in phases.phases] == [{}, {2: -1}, {3: 2}]
    assert channels_together(phases) == {-1, 1, 2, 3}


def test_convolutions_without_a_window_and_of_single_channels() -> None:
    b = Builder(height=7, channels=64)
    project(b, depthwise(b, project(b, -1, 64)), 64)
    assert found(b, [[0, 1, 2]], [-1, 2]) == set()
