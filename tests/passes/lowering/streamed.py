"""Modules whose groups stream channels, for the tests of what lowers them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest.mock import patch

import tvm
from hypothesis import strategies as st
from tvm.relax import op

from tests.channel_assignments import AssignmentRules, assignments
from tests.passes.lowering.lowered import ROOMY
from tests.passes.modules import bias, conv
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, extract


def streamed(
    mod: tvm.IRModule, phases: Sequence[Sequence[int]], resident: Sequence[int], operators: Sequence[int] | None = None
) -> tvm.IRModule:
    """All operators, or these, as one group in these phases."""
    executed = sorted({i for phase in phases for i in phase})
    parameters = ChannelAssignment(tuple(map(tuple, phases)), tuple(resident)).to_json()
    group = Group(tuple(operators or executed), "channel-streaming", parameters)
    left = [Group((i,)) for i in range(len(extract(mod).graph)) if i not in group.operators]
    return FuseByPlan(PartitionPlan((group, *left)), ROOMY)(mod)


@contextmanager
def channels_together(always: bool = True) -> Iterator[None]:
    """Maps of convolutions lie with their channels together however few these are."""
    with patch("tvm_fusion.passes.lowering.channel_layouts.LEAST_CHANNELS", 2) if always else nullcontext():
        yield


def one_by_one(graph: OperatorGraph, operators: Sequence[int]) -> ChannelAssignment:
    """Every operator in a phase of its own, everything held."""
    rules = AssignmentRules(graph, mask_of(operators))
    found = rules.assignment({i: k for k, i in enumerate(operators)}, {*rules.inputs, *operators})
    assert found is not None
    return found


def together(graph: OperatorGraph, operators: Sequence[int]) -> ChannelAssignment | None:
    """Everything in one phase, nothing held but what must be; None if that is not possible."""
    return AssignmentRules(graph, mask_of(operators)).assignment(dict.fromkeys(operators, 0), set())


@st.composite
def schemes(draw: st.DrawFn, graph: OperatorGraph, plan: PartitionPlan) -> PartitionPlan:
    """The plan with most groups in random phases; the others as they are."""
    groups = []
    for group in plan.groups:
        chosen = draw(assignments(graph, mask_of(group.operators)))
        streams = Group(group.operators, "channel-streaming", chosen.to_json())
        groups.append(streams if draw(st.integers(0, 4)) else group)
    return PartitionPlan(tuple(groups))


def scaled(emit: Any, x: Any, channels: int, kernel: int = 1, seed: int = 0, **options: Any) -> Any:
    """A convolution and its bias: one operator."""
    return emit(op.add(emit(conv(x, channels, kernel, seed=seed, **options)), bias(channels, seed=seed + 50)))


def inverted_residual(emit: Any, x: Any, expand: int = 6, excite: bool = False) -> Any:
    """Expand 0, relu 1, depthwise 2, relu 3, project 4, add 5; with squeeze-and-excite mean 4, convolution 5, relu 6,
    convolution 7, sigmoid 8, multiply 9, project 10, add 11."""
    inside = int(x.ty.shape[1])
    wide = inside * expand
    at = emit(op.nn.relu(scaled(emit, x, wide)))
    at = emit(op.nn.relu(scaled(emit, at, wide, 3, seed=1, groups=wide)))
    if excite:
        gate = emit(op.nn.relu(scaled(emit, emit(op.mean(at, [2, 3], True)), inside, seed=2)))
        gate = emit(op.sigmoid(scaled(emit, gate, wide, seed=3)))
        at = emit(op.multiply(at, gate))
    return op.add(x, scaled(emit, at, inside, seed=4))


def basic_block(emit: Any, x: Any) -> Any:
    """ResNet's: convolution 0, relu 1, convolution 2, add 3, relu 4."""
    channels = int(x.ty.shape[1])
    at = emit(op.nn.relu(scaled(emit, x, channels, 3)))
    return op.nn.relu(emit(op.add(x, scaled(emit, at, channels, 3, seed=1))))
