"""The bound of channel streaming for groups that grow."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channel_assignments import AssignmentRules, assignments, channel_graphs, inverted_residual
from tests.strategies import accelerators, group_masks
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.graph import OperatorGraph

FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data(), graph=channel_graphs(), accelerator=accelerators())
@FEW
def test_no_assignment_needs_less(data: st.DataObject, graph: OperatorGraph, accelerator: Accelerator) -> None:
    """The bound of any part holds for the group: that is what lets a search stop."""
    mask = data.draw(group_masks(graph))
    scheme = ChannelStreaming(graph, accelerator)
    found = scheme.cost(mask, data.draw(assignments(graph, mask)).to_json())
    assert scheme.growth_bound_bytes(mask) <= found.buffer_bytes
    assert max(scheme.growth_bound_bytes(1 << i) for i in found.operators) == scheme.growth_bound_bytes(mask)


@given(graph=channel_graphs(max_operators=1), accelerator=accelerators())
@FEW
def test_no_assignment_of_one_operator_needs_less(graph: OperatorGraph, accelerator: Accelerator) -> None:
    scheme = ChannelStreaming(graph, accelerator)
    for op in graph.operators:
        mask = 1 << op.id
        every = [scheme.cost(mask, found.to_json()).buffer_bytes for found in AssignmentRules(graph, mask).every()]
        assert scheme.growth_bound_bytes(mask) <= min(every)


def test_what_mixes_channels_has_its_operand_or_its_sums() -> None:
    scheme = ChannelStreaming(inverted_residual(), Accelerator())
    assert scheme.growth_bound_bytes(1 << 0) == 256 + 5  # the narrow operand whole, one output channel's weights
    assert scheme.growth_bound_bytes(1 << 4) == 4 * 256 + 64 + 5  # narrow sums, one channel of the wide operand
