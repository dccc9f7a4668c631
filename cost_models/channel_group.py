"""evaluate_channels: whether an assignment can be executed, and what each of its phases needs and moves."""

from __future__ import annotations

from dataclasses import dataclass, field

from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_facts import ChannelFacts, OperatorFacts
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import mask_of, members


@dataclass(slots=True)
class Phase:
    """One phase: masks of operators (executed; those that sum up; those whose result becomes resident, and of these the
    ones made channel by channel) and of tensors (streamed inputs; resident ones alive), and bytes on chip."""

    executed: int
    summing: int = 0
    resident: int = 0
    landing: int = 0
    streamed_inputs: int = 0
    alive: int = 0
    buffer_bytes: int = 0


@dataclass(slots=True)
class EvaluatedChannels:
    """All phases of an assignment, its requirement and the DRAM bytes of the whole batch."""

    phases: list[Phase] = field(default_factory=list)
    buffer_bytes: int = 0
    input_bytes: int = 0
    weight_bytes: int = 0
    recomputed_macs: int = 0


def evaluate_channels(needs: PhaseNeeds, mask: int, assignment: ChannelAssignment) -> EvaluatedChannels:
    """Phases, requirement and traffic of a group under ``assignment``.

    Raises CostModelError that says why it cannot be executed.
    """
    facts = needs.facts
    graph, sizes, shift = facts.graph, facts.sizes, facts.shift
    inputs = sum(1 << t + shift for t in sizes.outside_inputs(mask))
    resident = _resident_mask(facts, mask, inputs, assignment)
    found = EvaluatedChannels()
    made = executed_before = 0  # resident results (tensors), operators
    born: dict[int, int] = {}  # by bit: the phase from which a resident tensor is there
    last: dict[int, int] = {}
    for number, listed in enumerate(assignment.phases):
        phase = _walk(facts, inputs, resident, made, number, listed)
        found.phases.append(phase)
        for i in listed:
            for read in facts.operators[i].reads:
                if read.bit & resident:
                    born.setdefault(read.bit, number)
                    last[read.bit] = number
            if phase.resident >> i & 1:
                born[1 << i + shift] = number
                last.setdefault(1 << i + shift, number)
            if executed_before >> i & 1:
                found.recomputed_macs += graph.operators[i].macs * graph.operators[i].batch
            found.weight_bytes += graph.batch * facts.operators[i].weight_bytes
        made |= phase.resident << shift
        executed_before |= phase.executed
        for bit in members(phase.streamed_inputs):
            found.input_bytes += sizes.tensor_bytes[bit - shift]
    if executed_before != mask:
        raise CostModelError(f"operators {list(members(mask & ~executed_before))} of the group stand in no phase")
    found.input_bytes += sum(sizes.tensor_bytes[bit - shift] for bit in members(resident & inputs))
    for bit in members(resident):
        for number in range(born[1 << bit], last[1 << bit] + 1):
            found.phases[number].alive |= 1 << bit
    for number, phase in enumerate(found.phases):
        dying = sum(1 << bit for bit in members(phase.alive) if last[1 << bit] == number)
        dying &= ~((phase.resident & ~phase.landing) << shift)
        phase.buffer_bytes = (
            facts.held_bytes(phase.alive)
            + sum(facts.sum_bytes[i] - facts.image_bytes[i] for i in members(phase.summing))
            - needs.shared_bytes(phase.executed, phase.landing, dying)
            + needs.own_bytes(phase.executed, phase.summing, phase.resident, phase.streamed_inputs)
        )
        found.buffer_bytes = max(found.buffer_bytes, phase.buffer_bytes)
    return found


def _resident_mask(facts: ChannelFacts, mask: int, inputs: int, assignment: ChannelAssignment) -> int:
    for phase in assignment.phases:
        for i in phase:
            if i < 0 or not mask >> i & 1:
                raise CostModelError(f"a phase executes {i}, which is not in the group {list(members(mask))}")
    tensors = mask << facts.shift | inputs
    for t in assignment.resident:
        if t + facts.shift < 0 or not tensors >> t + facts.shift & 1:
            raise CostModelError(f"resident tensor {t} is neither read nor made by the group {list(members(mask))}")
    resident = sum(1 << t + facts.shift for t in assignment.resident)
    for bit in members(facts.one_row & tensors & ~resident):
        raise CostModelError(f"tensor {bit - facts.shift} has one row: it must be resident")
    return resident


def _walk(facts: ChannelFacts, inputs: int, resident: int, made: int, number: int, listed: tuple[int, ...]) -> Phase:
    """The operators of one phase in order, each with its operands at hand."""
    shift = facts.shift
    phase = Phase(mask_of(listed))
    sealed = 0  # results that are complete only when the phase ends
    for i in listed:
        op = facts.operators[i]
        if op.kind == "whole" and len(listed) > 1:
            raise CostModelError(f"operator {i} takes its operands whole: it must be alone in its phase")
        if made >> i + shift & 1:
            raise CostModelError(f"operator {i}, whose result is resident, stands in phases before {number} too")
        streams = 0
        for read in op.reads:
            place = f"operator {i} in phase {number} reads {read.operand}, which"
            if read.bit & inputs:
                stream = not read.bit & resident
                if stream:
                    phase.streamed_inputs |= read.bit
            elif read.bit & made:
                stream = False
            elif not read.bit & phase.executed << shift:
                raise CostModelError(f"{place} is neither held nor made there")
            elif read.bit & sealed:
                raise CostModelError(f"{place} is complete only when the phase has ended")
            else:
                stream = True
            if stream and not read.by_channel:
                raise CostModelError(f"{place} it needs whole")
            streams += stream
        sealed |= _result(facts, phase, i, op, streams, resident)
    return phase


def _result(facts: ChannelFacts, phase: Phase, i: int, op: OperatorFacts, streams: int, resident: int) -> int:
    """Enter what becomes of a result; its bit if it is complete only at the end of the phase."""
    bit = 1 << i + facts.shift
    sums = op.kind == "mix" and streams > 0
    ends = sums or op.joins or op.kind == "whole" or (op.kind == "move" and streams > 0)
    if ends and not bit & resident:
        raise CostModelError(f"the result of operator {i} is not made channel by channel: it must be resident")
    phase.summing |= sums << i
    if bit & resident:
        phase.resident |= 1 << i
        phase.landing |= (not ends) << i
    return bit if ends else 0
