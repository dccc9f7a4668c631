"""BandFunction: the PrimFunc of a group that executes in bands of rows, one operator after another in each of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any

import numpy as np
from tvm import tirx

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.band_schedule import Spans, band_schedule
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.passes.lowering.channel_parts import channel_parts
from tvm_fusion.passes.lowering.expressions import INDEX, index, simplified
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import element_count
from tvm_fusion.passes.lowering.kernels.window_kernel import Part
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE, Move, OnChipWriter
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import Load, OperatorRows
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import RowBuffers
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.weight_part import WeightPart, part_elements
from tvm_fusion.passes.relax_tools import Array


class BandFunction(OnChipWriter):
    """A loop over bands; inside it, for every operator in turn, its outside tensors are loaded, it is executed, and its
    rows are written if they leave the group. Each of these steps is one statement of the loop's body.

    A tensor has a buffer of as many rows as its largest band. Weights of ``kept`` operators are loaded before the first
    band; those of every other one pass in parts of its channels, of which one at a time is on chip: as many channels as
    the memory leaves room for beside what is needed anyway. The program has a line for each band, two columns for each
    step: its first row and how many there are. Raises NotLowered where an operator does not go that way.
    """

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        bands: int,
        kept: Collection[int],
    ) -> None:
        model = BandModel(group.graph, OWN_WIDTHS)
        cost = model.cost(group.everything, bands, kept)
        self.kept = frozenset(kept)
        self.schedule = band_schedule(model, group.everything, bands)
        room = cost.buffer_bytes - cost.weight_buffer_bytes
        # Channels of which the weights fit beside the bands while an operator runs.
        self.part_channels = {
            op.id: max(1, min(output_channels(op), (room - alive) // model.part_bytes[op.id]))
            for op, alive in zip(group.graph.operators, self.schedule.alive_bytes.values(), strict=True)
            if op.id not in self.kept and model.part_bytes[op.id]
        }
        images = group.graph.batch
        few = next((t for t in map(group.graph.tensor, self.schedule.spans) if t.batch != images), None)
        if few is not None:
            raise NotLowered(few.name, f"it is one for all {images} images of a batch")
        super().__init__(group, functions, result_shapes, options, cost)

    def _find_kernel(self, i: int) -> None:
        super()._find_kernel(i)
        if i in self.kernels and i in self.part_channels:
            self.kernels[i] = self.kernels[i].within(self.part_channels[i])

    def _row_buffers(self) -> RowBuffers:
        lines = {i: max(1, count) for i, count in self._lines().items()}  # of a tensor that is never there
        return RowBuffers(self.group, lines, self.options.scope)

    def _columns(self) -> dict[tuple[str, int], Spans]:
        """The rows of every step, by kind and tensor, in the order of the program's columns."""
        schedule = self.schedule
        found = {("held", t): spans for t, spans in sorted(schedule.spans.items())}
        found |= {("written", i): spans for i, spans in schedule.written.items()}
        return found | {("passed", t): spans for t, spans in schedule.passed.items() if spans}

    def _program(self) -> Array:
        columns = self._columns()
        lines = max(map(len, columns.values()))
        program = np.zeros((lines, 2 * len(columns)), PROGRAM_DTYPE)
        for k, spans in enumerate(columns.values()):
            for band, (first, end) in enumerate(spans):
                program[band, 2 * k : 2 * k + 2] = first, end - first
        return program

    def _body(self, table: Any) -> Any:
        self._table, self._place = table, {key: 2 * k for k, key in enumerate(self._columns())}
        self._band = loop_var("band")
        loaded = self.schedule.loaded
        steps = []
        for i in range(len(self.graph)):
            steps += [self._each_row("held", t, partial(self._moved, t, self.outside[t], Move.LOAD)) for t in loaded[i]]
            steps.append(self._executed(i))
            if i in self.results:
                steps.append(self._each_row("written", i, partial(self._moved, i, self.results[i], Move.STORE)))
        every_band = loop_nest([(self._band, self.schedule.count)], sequence(steps))
        return sequence([every_band, *(self._passed(t, spans) for t, spans in self.schedule.passed.items() if spans)])

    def _passed(self, t: int, spans: Spans) -> Any:
        """Rows that are in no band are read, as everything from outside is, and go nowhere."""
        self._band = loop_var("stretch")
        body = self._each_row("passed", t, partial(self._moved, t, self.outside[t], Move.PASS))
        return loop_nest([(self._band, len(spans))], body)

    def _each_row(self, kind: str, tensor: int, made: Callable[[], Any]) -> Any:
        """What ``made`` gives, for each row of a step in this band."""
        k = self._place[kind, tensor]
        first, count = (tirx.Cast(INDEX, self._table[self._band, index(column)]) for column in (k, k + 1))
        self.row, number = loop_var("row"), loop_var("r")
        body = sequence([tirx.Bind(self.row, first + number), made()])
        return tirx.For(number, index(0), count, tirx.ForKind.SERIAL, body)

    def _executed(self, i: int) -> Any:
        """The statement that makes the rows of operator ``i``, with the weights that pass."""
        passing = self._passing(i) if i in self.part_channels else {}
        if not passing:
            return self._rows_of(i, self._loader(i))
        if i in self.kernels:
            return self._by_kernel(i, passing)
        channels, width = output_channels(self.graph.operators[i]), self.part_channels[i]
        if width < channels:
            return self._by_channels(i, passing, channels, width)
        parts = {p: self._part(i, p, k, width) for p, k in passing.items()}
        load = self._loader(i, parts, index(0))
        return sequence([*self._copied(parts, index(0), width), self._rows_of(i, load)])

    def _rows_of(self, i: int, load: Load) -> Any:
        """All rows of an operator in this band."""

        def made() -> Any:
            store = self._store(i)
            if i in self.kernels:
                return self.kernels[i].make(self.row, self._image, load, store)
            return self.rows[i].make(self.row, self._image, load, store, self.buffers.scratch)

        return self._each_row("held", i, made)

    def _by_kernel(self, i: int, passing: dict[Any, int]) -> Any:
        """A kernel whose weights pass in its own tiles."""
        kernel = self.kernels[i]
        others = [p for p in passing if not p.same_as(kernel.weight)]
        axes = channel_parts(self.graph.operators[i], self.blocks[i], others).axes if others else {}
        width = kernel.tile_channels
        parts = {
            p: self._part(i, p, k, width, axes[p])
            if p in axes
            else self._part(i, p, k, width, packed=kernel.channel_weights)
            for p, k in passing.items()
        }

        def made(tile: Part) -> Any:
            load = self._loader(i, parts, tile.channel)
            rows = self._each_row("held", i, lambda: tile.make(self.row, self._image, load, self._store(i)))
            return sequence([*self._copied(parts, tile.channel, tile.count), rows])

        return kernel.in_parts(made)

    def _by_channels(self, i: int, passing: dict[Any, int], channels: int, width: int) -> Any:
        """Any other operator, for ``width`` of its channels at a time."""
        operator = self.graph.operators[i]
        blocks = channel_parts(operator, self.blocks[i], passing)
        parts = {p: self._part(i, p, k, width, blocks.axes[p]) for p, k in passing.items()}
        whole, rest = divmod(channels, width)
        statements = []
        for start, number, count in ((0, whole, width), (whole * width, 1, rest)):
            if count:
                part = counter("part", number)
                first = simplified(index(start) + part * index(width))
                rows = OperatorRows(operator, blocks.part(first, count), self.vectors)
                load = self._loader(i, parts, first)
                made = self._each_row("held", i, partial(self._made_by, i, rows, load))
                statements.append(loop_nest([(part, number)], sequence([*self._copied(parts, first, count), made])))
        return sequence(statements)

    def _made_by(self, i: int, rows: OperatorRows, load: Load) -> Any:
        return rows.make(self.row, self._image, load, self._store(i), self.buffers.scratch)

    def _passing(self, i: int) -> dict[Any, int]:
        """Parameters of an operator's function that are weights of several numbers, and their positions there."""
        return {
            p: k
            for k, (p, operand) in enumerate(self._operands(i).items())
            if operand in self.group.weights and element_count(self._dram_weight(operand)) > 1
        }

    def _part(self, i: int, p: Any, k: int, width: int, axis: int | None = None, packed: int = 0) -> WeightPart:
        dram = self._dram_weight(self._operands(i)[p])
        elements = part_elements(dram, width, axis, packed)
        copy = self.buffers.on_chip(f"weight_{i}_{k}", elements, str(dram.dtype), self.options.scope)
        return WeightPart(dram, copy, width, axis, packed)

    def _copied(self, parts: Mapping[Any, WeightPart], first: Any, count: int) -> list[Any]:
        """The statements that load ``count`` channels from ``first``."""
        found = ((part, *part.copied(first, count)) for part in parts.values())
        return [self._copies(loops, str(part.dram.dtype), copied) for part, loops, copied in found]
