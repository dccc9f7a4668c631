"""ChannelSchedule: who reads and makes what in which phase, as the channel simulator asks for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_roles import JOINS, ChannelRoles, Kind
from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, demand_order
from tvm_fusion.graph.operator import Operator


@dataclass(frozen=True, slots=True)
class Run:
    """How an operator executes in one phase: over ``indices`` channels, its weights in ``parts``, which operands come
    as streams, whether it adds up, whether its result is complete only when the phase ends."""

    kind: Kind
    indices: int
    parts: int
    streams: frozenset[int]
    sums: bool
    complete_at_end: bool


class ChannelSchedule:
    """Readers, makers and places of tensors; ``image_bytes`` by tensor.

    Raises CostModelError where an operand is not to be had.
    """

    def __init__(
        self,
        graph: OperatorGraph,
        group: Sequence[Operator],
        assignment: ChannelAssignment,
        image_bytes: Mapping[int, int],
    ) -> None:
        self.graph, self.image_bytes = graph, image_bytes
        self.roles = ChannelRoles(graph)
        self.phases = [set(phase) for phase in assignment.phases]
        self.resident = set(assignment.resident)
        inside = {op.id for op in group}
        self.outside = {operand for op in group for operand in op.inputs} - inside
        executed = [i for phase in self.phases for i in phase]
        if set(executed) != inside or not self.resident <= inside | self.outside:
            raise CostModelError(f"the assignment is not one of the group {sorted(inside)}")
        if any(executed.count(i) > 1 for i in self.resident):
            raise CostModelError("a resident result is made twice")
        for t in inside | self.outside:
            if graph.tensor(t).height == 1 and t not in self.resident:
                raise CostModelError(f"tensor {t} of one row is streamed")
        self.run = cache(self._run)
        self.in_place = cache(self._in_place)
        self.reads = cache(self._reads)
        self.complete = cache(self._complete)

    def _reads(self, t: int) -> list[tuple[int, int]]:
        """(phase, operator) of everything that reads tensor ``t``, in time."""
        return sorted((p, c) for p, phase in enumerate(self.phases) for c in self.graph.consumers[t] if c in phase)

    def first_read(self, t: int) -> int:
        """The phase that reads ``t`` first."""
        return self.reads(t)[0][0]

    def last_read(self, t: int) -> int:
        """The phase that reads ``t`` last, or -1."""
        reads = self.reads(t)
        return reads[-1][0] if reads else -1

    def made_in(self, t: int) -> int:
        """The phase from which a resident tensor is there: -1 for what comes from outside."""
        return -1 if t in self.outside else next(p for p, phase in enumerate(self.phases) if t in phase)

    def _complete(self, number: int) -> set[int]:
        """Tensors that are there as a whole when a phase begins."""
        return {t for t in self.resident if self.made_in(t) < number}

    def _run(self, op: Operator, number: int) -> Run:
        streams = {t for t in op.inputs if not (t in self.resident and self.made_in(t) < number)}
        for t in streams - self.outside:
            if t not in self.phases[number] or self.run(self.graph.operators[t], number).complete_at_end:
                raise CostModelError(f"operator {op.id} cannot read tensor {t} in phase {number}")
        for t, by_channel in zip(op.inputs, self.roles.by_channel[op.id], strict=True):
            if t in streams and not by_channel:
                raise CostModelError(f"operator {op.id} needs tensor {t} whole in phase {number}")
        kind = self.roles.kinds[op.id]
        if kind == "whole" and len(self.phases[number]) > 1:
            raise CostModelError(f"operator {op.id} is not alone in phase {number}")
        channels = output_channels(op)
        sums = kind == "mix" and bool(streams)
        at_end = sums or op.type in JOINS or kind == "whole" or (kind == "move" and bool(streams))
        if at_end and op.id not in self.resident:
            raise CostModelError(f"the result of operator {op.id} cannot be streamed in phase {number}")
        indices = channels
        if streams and kind in ("mix", "move"):
            indices = max(output_channels(self.graph.tensor(t)) for t in streams)
        parts = output_channels(self.graph.tensor(op.inputs[0])) if sums else channels
        return Run(kind, 1 if kind == "whole" else indices, parts, frozenset(streams), sums, at_end)

    def _in_place(self, t: int, number: int) -> bool:
        """Whether a stream has no channel of its own: it is computed as its only reader is, element by element."""
        reader = self._only_reader(t)
        if reader is None or reader.id not in self.phases[number]:
            return False
        merged = [
            o
            for o in self.graph.operators[t].inputs
            if o in self.phases[number] and o not in self.resident and self.in_place(o, number)
        ]
        return len(merged) < 2 or t == min(reader.inputs, key=demand_order)

    def _only_reader(self, t: int) -> Operator | None:
        """The pointwise operator of the same shape that alone reads a tensor that nobody else wants."""
        consumers = self.graph.consumers[t]
        if len(consumers) != 1 or t in self.graph.outputs:
            return None
        reader = self.graph.operators[consumers[0]]
        return reader if reader.pointwise and reader.shape == self.graph.tensor(t).shape else None

    def memory_of(self, op: Operator, number: int) -> int | None:
        """The resident tensor of which the resident result of ``op`` takes the memory."""
        if not op.pointwise:
            return None
        for t in sorted(op.inputs, key=demand_order):
            if t in self.resident and self._same_size(t, op) and self.reads(t)[-1] == (number, op.id):
                others = [c for p, c in self.reads(t) if p == number and c != op.id]
                if self._by_channel(op, t) and all(self._keeps_up(c, t, op) for c in others):
                    return t
        return None

    def _same_size(self, t: int, op: Operator) -> bool:
        return self.graph.tensor(t).shape == op.shape and self.image_bytes[t] == self.image_bytes[op.id]

    def _keeps_up(self, c: int, t: int, op: Operator) -> bool:
        reader = self.graph.operators[c]
        merges = self._only_reader(c)
        return reader.pointwise and self._by_channel(reader, t) and (merges is None or merges.id == op.id)

    def _by_channel(self, op: Operator, t: int) -> bool:
        return self.roles.by_channel[op.id][op.inputs.index(t)]
