"""ChannelBuffers: where the tensors of a group that streams channels live on chip, phase by phase."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes.lowering.channel_layouts import channels_together
from tvm_fusion.passes.lowering.channel_phases import ChannelPhase, ChannelPhases, by_channels
from tvm_fusion.passes.lowering.expressions import index, simplified
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, RowBuffer, RowBuffers


@dataclass(frozen=True)
class ChannelBuffer(RowBuffer):
    """Channels one after another, ``buffer[channel, element]``: all of them, or the one that passes. ``together``: the
    channels of an element are closest, ``buffer[element, channel]``."""

    together: bool = False

    def at_row(self, row: Any, element: Any) -> tuple[Any, Any]:
        """Where an element of a channel lies."""
        channel = simplified(row) if self.lines > 1 else index(0)
        return (element, channel) if self.together else (channel, element)

    @property
    def passes(self) -> bool:
        """Whether one channel of several is there at a time."""
        return self.lines < self.tensor.height


class ChannelBuffers(RowBuffers):
    """A buffer of each resident tensor, or that of the tensor of which it takes the memory, and in each phase a buffer
    of one channel for each stream.

    A stream in place is made where its reader is; in a buffer beside what the cost model counts if something else that
    the reader needs is there still, or if it is of another dtype.
    """

    def __init__(self, phases: ChannelPhases, scope: str) -> None:  # it has no rows
        self.allocated: list[Any] = []
        self.graph, self.phases, self.scope = phases.graph, phases, scope
        self._residents: dict[int, ChannelBuffer] = {}
        self._streams: list[dict[int, ChannelBuffer]] = []
        self._scratch: dict[Any, Any] = {}
        self._number = 0
        self._together = channels_together(phases)
        for phase in phases.phases:
            self._add_residents(phase)
            self._streams.append(self._of_phase(phase))

    def enter(self, number: int) -> None:
        """From now on :meth:`of` says where streams are in phase ``number``."""
        self._number = number

    def of(self, operand: int) -> RowBuffer:
        """Where a tensor's channels are in the current phase."""
        found = self._residents.get(operand)
        return found if found is not None else self._streams[self._number][operand]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        """A buffer in the accumulator scope; the same again for the same operator, which needs one at a time."""
        key = (name, shape, dtype)
        if key not in self._scratch:
            self._scratch[key] = super().scratch(self.unused(name), shape, dtype)
        return self._scratch[key]

    def together(self, operand: int) -> bool:
        """Whether the channels of an element lie closest together."""
        return operand in self._together

    def _add_residents(self, phase: ChannelPhase) -> None:
        for t in (*phase.loaded, *phase.operators):
            if t not in self.phases.resident:
                continue
            source = phase.taken.get(t)
            if source is None:
                self._residents[t] = self._new(t, "channels", self._channels(t))
                continue
            found = self._residents[source]
            if self.graph.tensor(t).dtype != str(found.buffer.dtype):
                raise NotLowered(
                    self.graph.tensor(t).name, f"it takes the memory of a tensor of dtype {found.buffer.dtype}"
                )
            self._residents[t] = found

    def _of_phase(self, phase: ChannelPhase) -> dict[int, ChannelBuffer]:
        found: dict[int, ChannelBuffer] = {}
        for t in (*phase.streamed, *phase.operators):
            if t not in self.phases.resident and t not in phase.in_place:
                found[t] = self._new(t, "channel")
        # Readers come after what they read; of several operands the first is made in the reader's buffer.
        first: dict[int, int] = {}
        for t in sorted(phase.in_place):
            first.setdefault(phase.in_place[t], t)
        for t in sorted(phase.in_place, reverse=True):
            reader = phase.in_place[t]
            home = self._residents.get(reader) or found[reader]
            alike = self.graph.tensor(t).dtype == str(home.buffer.dtype)
            if first[reader] == t and alike and reader not in phase.taken:
                found[t] = home
            else:
                found[t] = self._new(t, "beside", scope=ACCUMULATOR_SCOPE)
        return found

    def _channels(self, t: int) -> int:
        return output_channels(self.graph.tensor(t))

    def _new(self, t: int, what: str, lines: int = 1, scope: str = "") -> ChannelBuffer:
        tensor = by_channels(self.graph.tensor(t))
        name = f"input_{-t - 1}" if t < 0 else f"{self.graph.operators[t].type.replace('.', '_')}_{t}"
        shape = [index(lines), index(_elements(tensor))]
        together = what == "channels" and t in self._together
        shape = shape[::-1] if together else shape
        name = self.unused(f"{name}_{what}")
        buffer = tirx.decl_buffer(shape, tensor.dtype, name=name, scope=scope or self.scope)
        self.allocated.append(buffer)
        return ChannelBuffer(buffer, lines, tensor, together)

    def unused(self, name: str) -> str:
        """The name, with a number where an earlier phase has one of its own."""
        taken = {str(buffer.name) for buffer in self.allocated}
        return next(n for n in (name, *(f"{name}_{k}" for k in range(2, len(taken) + 3))) if n not in taken)


def _elements(tensor: Tensor) -> int:
    """Elements of one channel."""
    return tensor.elements // max(1, tensor.height)
