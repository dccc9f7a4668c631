"""The bound of channel streaming for groups that grow."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.channel_assignments import AssignmentRules, assignments, channel_graphs, inverted_residual
from tests.graphs import Builder
from tests.strategies import accelerators, group_masks
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.demand import ROW
from tvm_fusion.graph.graph import members

FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@given(data=st.data(), graph=channel_graphs(), accelerator=accelerators())
@FEW
def test_no_assignment_needs_less(data: st.DataObject, graph: OperatorGraph, accelerator: Accelerator) -> None:
    mask = data.draw(group_masks(graph))
    scheme = ChannelStreaming(graph, accelerator)
    found = scheme.cost(mask, data.draw(assignments(graph, mask)).to_json())
    # Also that of any part of the group that it could have grown from.
    part, bound = 0, 0
    for i in members(mask):
        part |= 1 << i
        bound = max(bound, scheme.growth_bound_bytes(part))
    assert bound <= found.buffer_bytes


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


def test_what_passes_an_operator_adds_up() -> None:
    """x + softmax(norm(x)): x, which the norm takes whole, is there while the softmax has its operand and result."""
    b = Builder(height=4)
    x = b.pointwise(-1)
    norm = b.add("layer_norm", (1, 4, 4, 4), {x: ROW})
    soft = b.add("softmax", (1, 4, 4, 4), {norm: ROW})
    b.pointwise(x, soft, type_="add")
    scheme = ChannelStreaming(b.graph(), Accelerator())
    assert scheme.growth_bound_bytes(0b0111) == 2 * 64
    assert scheme.growth_bound_bytes(0b1111) == 3 * 64
    assert scheme.least_requirement(0b1111).phases == ((0,), (1,), (2,), (3,))
    assert scheme.growth_bound_bytes(0b1110) == 2 * 64  # an input may come again
