"""Channel streaming executed channel by channel: loads, products, sums, writes and frees, counted one after another.

Written apart from the fast form (:mod:`tvm_fusion.cost_models.channel_group`), whose figures it checks. It shares with
it how operators treat channels, the widths of dtypes and weights and the form of the report, nothing else. Every read
checks that the channel is on chip and not overwritten by a result that took its memory.
"""

from __future__ import annotations

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_memory import Channels, Memory, Region
from tvm_fusion.cost_models.channel_schedule import ChannelSchedule
from tvm_fusion.cost_models.scheme import TensorBuffer
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import dtype_bits, output_channels, weight_bytes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator


def simulate_channels(
    graph: OperatorGraph,
    mask: int,
    accelerator: Accelerator,
    assignment: ChannelAssignment,
    keep_timeline: bool = False,
) -> SimulationResult:
    """Execute the operators of ``mask`` as ``assignment`` says, image after image.

    In the result ``buffers`` are the most channels and bytes of every tensor, and the requirement is the most memory
    that is set aside in a phase. Raises CostModelError where the assignment cannot be executed.
    """
    if mask <= 0 or mask >> len(graph):
        raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {len(graph) - 1}, at least one")
    return _Execution(graph, mask, accelerator, assignment, keep_timeline).result()


class _Execution:
    def __init__(
        self, graph: OperatorGraph, mask: int, accelerator: Accelerator, assignment: ChannelAssignment, keep: bool
    ) -> None:
        self.graph, self.accelerator = graph, accelerator
        self.group = [op for op in graph.operators if mask >> op.id & 1]
        inside = {op.id for op in self.group}
        outside = {operand for op in self.group for operand in op.inputs} - inside
        self.written = {i for i in inside if i in graph.outputs or set(graph.consumers[i]) - inside}
        self.tensors: dict[int, Channels] = {}
        for t in sorted(inside | outside):
            tensor = graph.tensor(t)
            bits = accelerator.activation_bits or dtype_bits(tensor.dtype)
            sums = accelerator.accumulator_bits
            self.tensors[t] = Channels(output_channels(tensor), tensor.elements, bits, sums, tensor.batch)
        sizes = {t: tensor.image_bytes for t, tensor in self.tensors.items()}
        self.schedule = ChannelSchedule(graph, self.group, assignment, sizes)
        self.memory = Memory(keep)
        self.stored: set[int] = set()
        self.image = 0

    def result(self) -> SimulationResult:
        for image in range(self.graph.batch):
            self.image = image
            self.stored.clear()
            for number in range(len(self.schedule.phases)):
                self._run_phase(number)
            if self.stored != self.written:
                raise CostModelError(f"tensors {sorted(self.written - self.stored)} were never written")
        if self.memory.regions:
            raise CostModelError("after the group something is still on chip")
        memory = self.memory
        buffers = (TensorBuffer(t, s.most_channels, s.most_bytes) for t, s in sorted(self.tensors.items()))
        return SimulationResult(
            buffer_bytes=memory.most_allocated,
            buffers=tuple(buffers),
            input_bytes=memory.moved["inputs"],
            output_bytes=memory.moved["outputs"],
            weight_bytes=memory.moved["weights"],
            peak_occupancy_bytes=memory.most_occupied,
            timeline=tuple(memory.timeline),
        )

    def _run_phase(self, number: int) -> None:
        """Memory first, then one index of channels after another, then what is complete only now."""
        schedule, memory, tensors = self.schedule, self.memory, self.tensors
        phase = schedule.phases[number]
        operators = [op for op in self.group if op.id in phase]
        weights = {op.id: weight_bytes(op, self.accelerator) for op in operators}
        # Inputs that come to stay.
        for t in sorted(schedule.outside & schedule.resident):
            if schedule.first_read(t) == number:
                region = memory.allocate(t, tensors[t].image_bytes)
                tensors[t].note(tensors[t].channels, region.size)
                for c in range(tensors[t].channels):
                    self._load(t, c, region)
        streamed = sorted({t for op in operators for t in op.inputs} & schedule.outside - schedule.resident)
        for t in streamed:
            memory.allocate(t, tensors[t].channel_bytes)
            tensors[t].note(1, tensors[t].channel_bytes)
        runs = {}
        for op in operators:
            runs[op.id] = schedule.run(op, number)
            self._set_aside(op, number)
            part = weights[op.id] if runs[op.id].kind == "whole" else -(-weights[op.id] // runs[op.id].parts)
            memory.allocate(("weights", op.id), part)
        memory.settle()
        left = dict(weights)
        for c in range(max([run.indices for run in runs.values()], default=0)):
            for t in streamed:
                if c < tensors[t].channels:
                    self._load(t, c, memory.regions[t])
            for op in operators:
                if c < runs[op.id].indices:
                    last = c == runs[op.id].indices - 1
                    left[op.id] -= self._pass_weights(op.id, left[op.id], everything=last)
                    self._compute(op, c, number)
        self._end_phase(operators, streamed, number)

    def _set_aside(self, op: Operator, number: int) -> None:
        """Memory of a result: all of it, a channel, or none of its own."""
        schedule, memory, tensor = self.schedule, self.memory, self.tensors[op.id]
        if op.id not in schedule.resident:
            own = not schedule.in_place(op.id, number)
            if own:
                memory.allocate(op.id, tensor.channel_bytes)
            tensor.note(own, own * tensor.channel_bytes)
            return
        sums = schedule.run(op, number).sums
        size = tensor.sum_bytes if sums else tensor.image_bytes
        tensor.note(tensor.channels, max(size, tensor.image_bytes))
        source = schedule.memory_of(op, number)
        if source is None:
            memory.allocate(op.id, size)
        else:
            memory.share(op.id, source)
        if sums:
            memory.fill(memory.regions[op.id], size)

    def _compute(self, op: Operator, c: int, number: int) -> None:
        """Index c of an operator: make the result's channel c, or take channel c of what streams into it."""
        run = self.schedule.run(op, number)
        if run.complete_at_end:
            for operand in op.inputs:
                if operand in run.streams:
                    if c < self.tensors[operand].channels:
                        self._read(operand, c, number)
                elif c == 0:
                    self._read_whole(operand, number)
            return
        if self.schedule.in_place(op.id, number) and op.id not in self.schedule.resident:
            if op.id in self.written:
                raise CostModelError(f"tensor {op.id} is written and in place")
            return  # computed with its reader, element by element
        self._operands(op, c, number, target=self.memory.regions[op.id], elementwise=True)
        self._made(op.id, c)

    def _operands(self, op: Operator, c: int, number: int, target: Region, elementwise: bool) -> None:
        """Check that what channel c needs is there; of in-place operands, what they need."""
        elementwise = elementwise and op.pointwise
        for operand, by_channel in zip(op.inputs, self.schedule.roles.by_channel[op.id], strict=True):
            run = self.schedule.run(op, number)
            if run.kind == "channel" and by_channel:
                made_now = operand in self.schedule.phases[number] and operand not in self.schedule.resident
                if made_now and self.schedule.in_place(operand, number):
                    self._operands(self.graph.operators[operand], c, number, target, elementwise)
                    continue
                self._read(operand, c, number)
                if self.memory.regions[operand] is target and not elementwise:
                    raise CostModelError(f"operator {op.id} reads {operand} while a result takes its memory")
            else:
                if c in (0, self.schedule.run(op, number).indices - 1):  # what is overwritten stays so
                    self._read_whole(operand, number)
                if self.memory.regions[operand] is target:
                    raise CostModelError(f"operator {op.id} reads all of {operand} while a result takes its memory")

    def _read(self, t: int, c: int, number: int) -> None:
        if t not in self.memory.regions or self.memory.regions[t].content.get(c) != t:
            raise CostModelError(f"channel {c} of tensor {t} is not on chip in phase {number}")

    def _read_whole(self, t: int, number: int) -> None:
        if t not in self.schedule.complete(number):
            raise CostModelError(f"tensor {t} is not complete in phase {number}")
        for c in range(self.tensors[t].channels):
            self._read(t, c, number)

    def _made(self, t: int, c: int) -> None:
        """Channel c of a result is there; it goes to DRAM if it is wanted there and has not gone before."""
        tensor, region = self.tensors[t], self.memory.regions[t]
        region.place(t, c, streamed=t not in self.schedule.resident)
        held = tensor.moved_bytes(c) if t in self.schedule.resident else tensor.channel_bytes
        self.memory.fill(region, held, once=t not in self.schedule.resident)
        if t in self.written and t not in self.stored:
            self.memory.move("outputs", tensor.moved_bytes(c))
            if c == tensor.channels - 1:
                self.stored.add(t)

    def _load(self, t: int, c: int, region: Region) -> None:
        tensor = self.tensors[t]
        resident = t in self.schedule.resident
        region.place(t, c, streamed=not resident)
        self.memory.fill(region, tensor.moved_bytes(c) if resident else tensor.channel_bytes, once=not resident)
        self.memory.move("inputs", tensor.moved_bytes(c) if self.image < tensor.batch else 0)

    def _pass_weights(self, i: int, left: int, everything: bool) -> int:
        """One channel's weights into their place, all that are left at the end; the bytes that came."""
        region = self.memory.regions["weights", i]
        passed = 0
        while passed < left:
            part = min(region.size, left - passed)
            self.memory.fill(region, part, once=True)
            self.memory.move("weights", part)
            passed += part
            if not everything:
                break
        return passed

    def _end_phase(self, operators: list[Operator], streamed: list[int], number: int) -> None:
        schedule, memory, tensors = self.schedule, self.memory, self.tensors
        for op in operators:
            memory.free(("weights", op.id))
            run = schedule.run(op, number)
            if run.complete_at_end:
                region = memory.regions[op.id]
                if run.sums:
                    memory.shrink(region, tensors[op.id].image_bytes)
                for c in range(tensors[op.id].channels):
                    self._made(op.id, c)
            elif op.id not in schedule.resident and op.id in memory.regions:
                memory.free(op.id)
        for t in streamed:
            memory.free(t)
        for t in sorted(schedule.resident):
            if t in memory.regions and schedule.last_read(t) <= number:
                memory.free(t)
