"""ChannelFunction: the PrimFunc of a group that streams channels, phase after phase."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import BufferStore
from tvm_ffi import structural_equal

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.cost_models.sizes import channel_axis, dtype_bits, output_channels
from tvm_fusion.errors import CostModelError
from tvm_fusion.passes.lowering.channel_buffers import ChannelBuffer, ChannelBuffers
from tvm_fusion.passes.lowering.channel_operator import ChannelOperator, Mode, channel_operator
from tvm_fusion.passes.lowering.channel_phases import ChannelPhase, ChannelPhases
from tvm_fusion.passes.lowering.channel_rows import ChannelRows
from tvm_fusion.passes.lowering.channel_weights import ChannelWeights, channel_weights
from tvm_fusion.passes.lowering.dram import DramTensor
from tvm_fusion.passes.lowering.expressions import index, loads, simplified, uses
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import element_count
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE, Move, OnChipWriter
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import Home, OperatorRows
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.ordered_part import ordered
from tvm_fusion.passes.lowering.row_buffers import element_of
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.weight_part import WeightPart
from tvm_fusion.passes.relax_tools import Array, constant_array

Parts = tuple[dict[Any, WeightPart], dict[Any, WeightPart]]


class ChannelFunction(OnChipWriter):
    """Each phase is one statement, a loop of one pass: inputs that stay are loaded, sums start, a loop goes over the
    channel index, and what is complete only then is finished and written.

    In the loop a channel of every streamed input is loaded, then every operator that has this index loads a channel's
    weights and makes its channel, or takes the one that came. Tensors of fewer channels end earlier: then there are
    several loops one after another. The program has a line for each phase, its channels; the function does not need it.
    Raises NotLowered where an operator does not go that way.
    """

    buffers: ChannelBuffers

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        assignment: ChannelAssignment,
    ) -> None:
        graph = group.graph
        try:
            self.phases = ChannelPhases(graph, assignment)
            cost = ChannelStreaming(graph, OWN_WIDTHS).cost(group.everything, assignment.to_json())
        except CostModelError as error:
            raise NotLowered("", str(error)) from None
        for tensor in (*graph.inputs, *graph.operators):
            if tensor.batch != graph.batch:
                raise NotLowered(tensor.name, f"it is one for all {graph.batch} images of a batch")
            if tensor.batch > 1 and channel_axis(tensor) == 0:
                raise NotLowered(tensor.name, "its channels are its images")
        self.modes: dict[int, ChannelOperator] = {}
        self._current = 0  # the operator that is being written
        super().__init__(group, functions, result_shapes, options, cost)
        self.weights: dict[int, ChannelWeights] = {}
        for i in range(len(graph)):
            constants = {p: w for p, w in self._operands(i).items() if w in group.weights and element_count(p) > 1}
            found = channel_weights(
                graph.operators[i], self.blocks[i], self.modes[i], list(constants), partial(self._closest_axis, i)
            )
            for param, order in (found.orders or {}).items():
                self.packed[group.weights[constants[param]]] = ordered(constant_array(constants[param]), order)
            self.weights[i] = found

    def _closest_axis(self, i: int, param: Any) -> int | None:
        """The axis of a weight along which its operator goes by vectors, where channels lie together: those of the
        sums, or those of the operand that it reads."""
        how, operator = self.modes[i], self.graph.operators[i]
        block = next((block for block in self.blocks[i] if loads(block.value, param)), None)
        var = None
        if how.mode is Mode.SUM and self.buffers.together(i):
            var = block.indices[channel_axis(operator)] if block is how.rows.adding[0] else None
        elif how.mode is Mode.CHANNEL and self.phases.kind(i) == "mix" and block is not None:
            for buffer, value in self._operands(i).items():
                operand = self.group.operand_of.get(value)
                if operand is None or not self.buffers.together(operand):
                    continue
                for places in loads(block.value, buffer):
                    inside = [r for r, _ in block.reduce if len(places) > 1 and uses(places[channel_axis(operator)], r)]
                    var = inside[0] if len(inside) == 1 else None
        if var is None or block is None:
            return None
        axes = {k for places in loads(block.value, param) for k, place in enumerate(places) if place.same_as(var)}
        return axes.pop() if len(axes) == 1 else None

    def _row_buffers(self) -> ChannelBuffers:
        return ChannelBuffers(self.phases, self.options.scope)

    def _find_kernel(self, _i: int) -> None:
        """Kernels want the channels of a row closest together."""

    def _rows(self, i: int) -> OperatorRows:
        number = next(k for k, phase in enumerate(self.phases.phases) if i in phase.operators)
        streams = self.phases.phases[number].streams[i]
        operand_of = {p: self.group.operand_of[o] for p, o in self._operands(i).items() if o in self.group.operand_of}
        operands = {param: (t, self.graph.tensor(t)) for param, t in operand_of.items()}
        at_end, sums = i in self.phases.at_end, i in self.phases.summing
        self.modes[i] = channel_operator(
            self.graph.operators[i], self.blocks[i], operands, streams, at_end, sums, self.vectors
        )
        return self.modes[i].rows

    def _program(self) -> Array:
        return np.array([[self._edges(phase)[-1]] for phase in self.phases.phases], PROGRAM_DTYPE)

    def _edges(self, phase: ChannelPhase) -> list[int]:
        """Channel indices at which something begins or ends."""
        channels = {output_channels(self.graph.tensor(t)) for t in phase.streamed}
        return sorted(channels.union(*(self.modes[i].cuts for i in phase.operators)))

    def _body(self, table: Any) -> Any:
        # TVM's RewriteDataflowReshape wants blocks in what reads one tensor alone: this reads another one.
        self.start.append(tirx.Evaluate(table[index(0), index(0)]))
        return sequence([self._phase(number) for number in range(len(self.phases.phases))])

    def _phase(self, number: int) -> Any:
        phase = self.phases.phases[number]
        self.buffers.enter(number)
        weights = {i: self._weights(i) for i in phase.operators}
        steps = [self._all_channels(t) for t in phase.loaded]
        for i in phase.operators:
            steps += self._started(i, weights[i])
        edges = self._edges(phase)
        for first, end in pairwise(edges):
            steps += self._channels(phase, weights, first, end)
        for i in phase.operators:
            steps += self._finished(i, weights[i])
            if i in phase.written and self._is_written_at_end(phase, i):
                steps.append(self._all_channels(i))
        return tirx.For(loop_var("phase"), index(0), index(1), tirx.ForKind.SERIAL, sequence(steps))

    def _weights(self, i: int) -> Parts:
        """Where the weights of an operator pass in this phase: those of a channel, and what comes after all of them."""
        dram = {p: self._dram_weight(w) for p, w in self._operands(i).items() if w in self.group.weights}

        def new(elements: int, dtype: str) -> Any:
            name = self.buffers.unused(f"{self.graph.operators[i].type.replace('.', '_')}_{i}_weights")
            return self.buffers.on_chip(name, elements, dtype, self.options.scope)

        return self.weights[i].parts(dram, new)

    def _started(self, i: int, weights: Parts) -> list[Any]:
        """What an operator does before channels come."""
        how, self.row, self._current = self.modes[i], index(0), i
        if how.mode is Mode.SUM:
            how.rows.keep_sums(*self._home(i, how.rows.adding[0].buffer))
            load = self._loader(i, {**weights[0], **weights[1]}, index(0))
            return [how.rows.add(index(0), self._image, load, self.buffers.scratch)[0]]
        load = self._loader(i, {**weights[0], **weights[1]}, index(0))
        lanes = self._lanes(i)
        return [arrival.everything(self._images(i), load, self._store(i), lanes) for arrival in how.there]

    def _channels(self, phase: ChannelPhase, weights: Mapping[int, Parts], first: int, end: int) -> list[Any]:
        """The loop over channels ``first`` .. ``end`` - 1."""
        channel = counter("channel", end - first)
        self.row = simplified(index(first) + channel)
        inside = [t for t in phase.streamed if end <= output_channels(self.graph.tensor(t))]
        steps = [self._moved(t, self.outside[t], Move.LOAD) for t in inside]
        for i in phase.operators:
            made = self._made(i, weights[i], first, end)
            steps += made
            if made and i in phase.written and not self._is_written_at_end(phase, i):
                steps.append(self._moved(i, self.results[i], Move.STORE))
        return [loop_nest([(channel, end - first)], sequence(steps))] if steps else []

    def _made(self, i: int, weights: Parts, first: int, end: int) -> list[Any]:
        """What an operator does for the current channel, with the weights that it needs for that."""
        self._current = i
        how, load, store = self.modes[i], self._loader(i, {**weights[0], **weights[1]}, self.row), self._store(i)
        copied = self._copied(weights[0])
        scratch = self.buffers.scratch
        if how.mode is Mode.MOVE:
            here = [arrival for arrival in how.arriving if arrival.first <= first and end <= arrival.end]
            lanes = self._lanes(i)
            return [arrival.channel(self.row, self._images(i), load, store, lanes) for arrival in here]
        if end > max(how.cuts):
            return []
        if isinstance(how.rows, ChannelRows):
            how.rows.keep_result(*self._home(i, how.rows.steps[-1].block.buffer))
        if how.mode is Mode.SUM:
            return [*copied, how.rows.add(self.row, self._image, load, scratch)[1]]
        return [*copied, how.rows.make(self.row, self._image, load, store, scratch)]

    def _home(self, i: int, own: Any) -> tuple[Any, Home]:
        """The buffer of a result, and where it has the elements of ``own``, a buffer of the operator's function."""
        place, shape = self.buffers.of(i), tuple(int(size) for size in own.shape)
        return place.buffer, lambda places: list(place.at(shape, places, self._image))

    def _finished(self, i: int, weights: Parts) -> list[Any]:
        """What an operator does when all channels have come."""
        how = self.modes[i]
        if how.mode is not Mode.SUM or how.rows.steps[-1].block is how.rows.adding[0]:
            return []
        load = self._loader(i, {**weights[0], **weights[1]}, index(0))
        made = how.rows.make(index(0), self._image, load, self._store(i), self.buffers.scratch)
        return [*self._copied(weights[1]), made]

    def _copied(self, parts: Mapping[Any, WeightPart]) -> list[Any]:
        """The statements that load a channel's weights."""
        found = ((part, *part.copied(self.row, 1)) for part in parts.values())
        return [self._copies(loops, str(part.dram.dtype), copied) for part, loops, copied in found]

    def _lanes(self, i: int) -> int:
        return self.vectors.lanes(max(32, dtype_bits(self.graph.operators[i].dtype)))

    def _images(self, i: int) -> dict[Any, Any]:
        """What the loop over images of an operator stands for."""
        var = self.modes[i].rows.steps[-1].image
        return {} if var is None else {var: self._image}

    def _is_written_at_end(self, phase: ChannelPhase, i: int) -> bool:
        """Whether a result goes to DRAM when the phase ends, not channel by channel."""
        view = self._is_view(self.results[i])
        if view and (i not in self.phases.resident or i in phase.taken.values()):
            raise NotLowered(self.graph.operators[i].name, "it streams by channels, and DRAM has another shape of it")
        return view or i in phase.at_end

    def _all_channels(self, t: int) -> Any:
        """All channels of a tensor that is held, from or to DRAM."""
        dram, move = (self.outside[t], Move.LOAD) if t < 0 else (self.results[t], Move.STORE)
        channels = output_channels(self.graph.tensor(t))
        self.row = counter("channel", channels)
        return loop_nest([(self.row, channels)], self._moved(t, dram, move))

    @staticmethod
    def _is_view(dram: DramTensor) -> bool:
        """Whether DRAM has a tensor in another shape."""
        return not dram.by_rows and tuple(int(size) for size in dram.buffer.shape) != dram.tensor.shape

    def _moved(self, i: int, dram: DramTensor, move: Move) -> Any:
        """The current channel between DRAM and its place on chip."""
        tensor, place = dram.tensor, self.buffers.of(i)
        if self._is_view(dram):
            raise NotLowered(tensor.name, "it streams by channels, and DRAM has another shape of it")
        fixed = {channel_axis(tensor): self.row} if tensor.shape else {}
        fixed |= {0: self._image} if tensor.batch > 1 else {}
        loops = {axis: loop_var(f"i{axis}") for axis in range(len(tensor.shape)) if axis not in fixed}

        def copied(inside: dict[Any, Any]) -> Any:
            every = [fixed[axis] if axis in fixed else loops[axis] for axis in range(len(tensor.shape))]
            places = [inside.get(at, at) for at in every]
            outside = dram.at(tensor.shape, places, self._image)
            at = place.at(tensor.shape, places, self._image)
            if move is Move.STORE:
                return BufferStore(dram.buffer, place.buffer[at], outside)
            return BufferStore(place.buffer, dram.buffer[tuple(outside)], list(at))

        return self._copies([(var, tensor.shape[axis]) for axis, var in loops.items()], tensor.dtype, copied)

    def _load_operand(self, operand: int, shape: tuple[int, ...], indices: list[Any]) -> Any:
        reader = self.graph.operators[self._current]
        place = self.buffers.of(operand)
        if isinstance(place, ChannelBuffer) and place.passes:  # only the current channel of it is there
            channel, _ = element_of(place.tensor, shape, indices)
            if not structural_equal(simplified(channel - self.row), index(0)):
                raise NotLowered(reader.name, f"it reads another channel than the one that passes ({reader.type})")
        return place.buffer[place.at(shape, indices, self._image)]
