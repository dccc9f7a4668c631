"""ChannelPhases: what a group that streams channels does in each phase, as code generation asks for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_facts import ChannelFacts
from tvm_fusion.cost_models.channel_group import Phase, evaluate_channels
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.cost_models.channel_roles import Kind
from tvm_fusion.cost_models.sizes import Sizes, channel_axis
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes.attributes import OPERANDS, OPERATORS, scheme_parameters
from tvm_fusion.passes.lowering.group import Group

AnyTensor = TypeVar("AnyTensor", bound=Tensor)


@dataclass(frozen=True)
class ChannelPhase:
    """``loaded``: inputs that become resident here; ``streamed``: those that pass a channel at a time; ``streams``: by
    operator the operands that come channel by channel. ``summing`` and ``at_end`` (complete only when the phase ends,
    sums included) and ``written`` (to DRAM, for the first time) are operators. ``taken``: by operator the resident
    tensor of which its result takes the memory; ``in_place``: by streamed result the reader that it is computed with.
    """

    operators: tuple[int, ...]
    loaded: tuple[int, ...]
    streamed: tuple[int, ...]
    streams: dict[int, frozenset[int]]
    summing: frozenset[int]
    at_end: frozenset[int]
    written: frozenset[int]
    taken: dict[int, int]
    in_place: dict[int, int]


class ChannelPhases:
    """The phases of all operators of ``graph`` as ``assignment`` says, at the element widths of the IR.

    Raises CostModelError for an assignment that cannot be executed.
    """

    def __init__(self, graph: OperatorGraph, assignment: ChannelAssignment) -> None:
        self.graph, self.resident = graph, frozenset(assignment.resident)
        self._facts = ChannelFacts(graph, OWN_WIDTHS, Sizes(graph, OWN_WIDTHS))
        self._needs = PhaseNeeds(self._facts)
        self._evaluated = evaluate_channels(self._needs, (1 << len(graph)) - 1, assignment)
        self._born: dict[int, int] = {}
        self._last: dict[int, int] = {}
        for number, phase in enumerate(self._evaluated.phases):
            for bit in members(phase.alive):
                self._born.setdefault(bit - self._facts.shift, number)
                self._last[bit - self._facts.shift] = number
        written: set[int] = set()
        self.phases: list[ChannelPhase] = []
        for number, phase in enumerate(self._evaluated.phases):
            self.phases.append(self._phase(number, phase, written))
            written |= self.phases[-1].written
        self.summing = frozenset(i for phase in self.phases for i in phase.summing)
        self.at_end = frozenset(i for phase in self.phases for i in phase.at_end)

    def kind(self, i: int) -> Kind:
        """How an operator treats channels."""
        return self._facts.operators[i].kind

    def _phase(self, number: int, phase: Phase, before: set[int]) -> ChannelPhase:
        operators = tuple(members(phase.executed))
        shift = self._facts.shift
        dying = sum(1 << bit for bit in members(phase.alive) if self._last[bit - shift] == number)
        dying &= ~((phase.resident & ~phase.landing) << shift)
        streams = {
            i: frozenset(t for t in self.graph.operators[i].inputs if self._passes(t, number)) for i in operators
        }
        own = self._needs.channels(phase.executed, phase.resident)
        return ChannelPhase(
            operators=operators,
            loaded=tuple(sorted(t for t, born in self._born.items() if t < 0 and born == number)),
            streamed=tuple(bit - shift for bit in members(phase.streamed_inputs)),
            streams=streams,
            summing=frozenset(members(phase.summing)),
            at_end=frozenset(members(phase.resident & ~phase.landing)),
            written=frozenset(i for i in operators if self.graph.output_mask >> i & 1) - before,
            taken={i: bit - shift for i, bit in self._needs.taken(phase.executed, phase.landing, dying)},
            in_place={i: self._facts.operators[i].in_place_for for i, count in own.items() if not count},
        )

    def _passes(self, t: int, number: int) -> bool:
        """Whether a tensor comes channel by channel in a phase: a stream, or a resident result that is made there."""
        return t not in self.resident or (t >= 0 and self._born[t] == number)


def by_channels(tensor: AnyTensor) -> AnyTensor:
    """The tensor with its channels as rows: what makes rows then makes channels."""
    return replace(tensor, row_axis=channel_axis(tensor) if tensor.shape else None)


def own_assignment(group: Group, attributes: Mapping[str, Any]) -> ChannelAssignment:
    """What the plan says, with operators and tensors as the group's own graph numbers them."""
    planned = ChannelAssignment.from_json(scheme_parameters(attributes))
    own = {i: k for k, i in enumerate(sorted(int(i) for i in attributes[OPERATORS]))}
    for i, operand in zip(attributes[OPERANDS], group.operands, strict=True):
        if operand is not None:
            own[int(i)] = operand
    return ChannelAssignment(
        tuple(tuple(sorted(own[i] for i in phase)) for phase in planned.phases),
        tuple(sorted(own[t] for t in planned.resident)),
    )
