"""The search for an assignment against all assignments there are."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channel_assignments import AssignmentRules, channel_graphs, depthwise
from tests.graphs import Builder, everything
from tests.strategies import group_masks
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.channel_shared_steps import SharedSteps
from tvm_fusion.cost_models.channel_steps import State, Steps
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.demand import ROW, SINGLE

FEW = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def brute_force(graph: OperatorGraph, mask: int) -> list[GroupCost]:
    scheme = ChannelStreaming(graph, Accelerator())
    return [scheme.cost(mask, found.to_json()) for found in AssignmentRules(graph, mask).every()]


def best_of(costs: list[GroupCost], buffer_bytes: int) -> int | None:
    return min((cost.dram_bytes for cost in costs if cost.buffer_bytes <= buffer_bytes), default=None)


def compare(graph: OperatorGraph, mask: int, exact: bool) -> int:
    """Choices that are dearer than the best of all assignments, over all buffers that make a difference."""
    costs = brute_force(graph, mask)
    assert costs
    worse = 0
    for buffer_bytes in sorted({cost.buffer_bytes for cost in costs}):
        best = best_of(costs, buffer_bytes)
        fit = ChannelStreaming(graph, Accelerator(buffer_bytes=buffer_bytes)).fit(mask)
        assert best is not None
        if fit.valid:
            assert fit.dram_bytes >= best
            assert fit.buffer_bytes <= buffer_bytes
        if not fit.valid or fit.dram_bytes > best:
            worse += 1
            assert not exact, (buffer_bytes, best, fit)
    return worse


@st.composite
def chains(draw: st.DrawFn, longest: int) -> OperatorGraph:
    """Operators that each read the one before."""
    b = Builder(height=draw(st.integers(1, 4)), channels=draw(st.integers(1, 4)))
    at = -1
    for _ in range(draw(st.integers(1, longest))):
        kind = draw(st.integers(0, 6))
        n, c, h, w = b.tensor(at).shape
        if kind <= 2:
            at = b.conv(at, 1, channels=draw(st.integers(1, 8)))
        elif kind == 3:
            at = depthwise(b, at)
        elif kind == 4 and h > 1:
            at = b.pool(at)
        elif kind == 5:
            at = b.add("slice", (n, max(1, c // 2), h, w), {at: ROW if h > 1 else SINGLE})
        else:
            at = b.pointwise(at)
    return b.graph(at)


@given(graph=chains(longest=4))
@FEW
def test_chains_are_exact(graph: OperatorGraph) -> None:
    compare(graph, everything(graph), exact=True)


@pytest.mark.slow
@given(graph=chains(longest=5))
@MANY
def test_many_chains_are_exact(graph: OperatorGraph) -> None:
    compare(graph, everything(graph), exact=True)


@given(data=st.data(), graph=channel_graphs(max_operators=4))
@FEW
def test_nothing_is_better_than_the_best_of_all(data: st.DataObject, graph: OperatorGraph) -> None:
    compare(graph, data.draw(group_masks(graph)), exact=False)


@given(data=st.data(), graph=channel_graphs(max_operators=12))
@FEW
def test_shared_steps_are_those_of_the_state(data: st.DataObject, graph: OperatorGraph) -> None:
    """From every state on the way, with few operators counted as near."""
    buffer_bytes = data.draw(st.sampled_from((200, 1000, 10_000)))
    steps = Steps(ChannelStreaming(graph, Accelerator()).needs, buffer_bytes, data.draw(st.booleans()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tvm_fusion.cost_models.channel_shared_steps._NEAR", 1)
        shared = SharedSteps(steps)
        waiting, seen = [State(everything(graph)), State(data.draw(group_masks(graph)))], set[State]()
        while waiting and len(seen) < 30:
            state = waiting.pop()
            if state not in seen:
                seen.add(state)
                expected = list(steps.after(state))
                assert list(shared.after(state)) == expected
                waiting += [step.after for step in expected]
