"""WindowKernel: a row of a convolution or matrix product, a tile of columns and channels at a time in registers."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir.expr import Var
from tvm.tirx import BufferStore

from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import index, rewritten, simplified, substituted
from tvm_fusion.passes.lowering.kernels.blocked import Walk, blocked
from tvm_fusion.passes.lowering.kernels.tiles import Tile, best_tile, column_parts, lane_parts
from tvm_fusion.passes.lowering.kernels.window import Axis, Window
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.row_buffers import REGISTER_SCOPE
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.vector_nest import vectorized
from tvm_fusion.passes.lowering.vectors import Vectors
from tvm_fusion.passes.relax_tools import Array

Load = Callable[[Any, list[Any]], Any]
Store = Callable[[list[Any], Any], Any]


class WindowKernel:
    """Rows of ``window``, then of ``last``, the elementwise block after it, if there is one.

    Channels are vectors, the sums of a tile stay in registers while the taps and input channels are walked; taps that
    lie in the padding are left out. Weights lie in the order in which the tiles read them: see :meth:`packed`.
    With ``height`` rows at once, which a window must not reach across, these are columns one after another. A tile has
    at most ``most_channels`` channels, if that is given.
    """

    def __init__(
        self,
        window: Window,
        last: Block | None,
        vectors: Vectors,
        height: int = 1,
        most_channels: int | None = None,
    ) -> None:
        self.window = window
        self.vectors = vectors
        self.columns = window.columns
        if height > 1:
            self.columns = Axis(window.columns.size * height, window.columns.size * height)
        self.last = last
        self.dtype = str(window.block.buffer.dtype)
        lanes = vectors.lanes(dtype_bits(self.dtype))
        # Groups of one channel each are walked as the channels of one group.
        self.groups = 1 if window.depthwise else window.groups
        self.channels = window.groups if window.depthwise else window.outputs
        most = self.channels if most_channels is None else min(most_channels, self.channels)
        self.lanes = min(lanes, most)
        registers = -(-self.channels // self.lanes) if most == self.channels else most // self.lanes
        if window.depthwise:
            self.tile = Tile(min(self.columns.size, vectors.accumulators // 2), 1)
        else:
            self.tile = best_tile(self.columns.size, registers, vectors.accumulators)
        self.parts = lane_parts(self.channels, self.lanes, self.tile.vectors)
        # Of one channel at a time the input channels are vectors, 0 where there are too few.
        alone = most == 1 < self.channels and not window.depthwise and window.inputs >= lanes
        self.input_lanes = lanes if alone else 0

    def whole(self, height: int) -> WindowKernel | None:
        """The kernel for all ``height`` rows at once; None where the window reaches across rows or columns."""
        window = self.window
        apart = window.rows.single and window.columns.single
        return WindowKernel(window, self.last, self.vectors, height) if apart and height > 1 else None

    def within(self, channels: int) -> WindowKernel:
        """The kernel with tiles of at most ``channels`` channels."""
        return WindowKernel(self.window, self.last, self.vectors, most_channels=channels)

    @property
    def tile_channels(self) -> int:
        """Channels of the largest tile."""
        return max(sum(lanes) for _, _, lanes in self.parts)

    @property
    def channel_weights(self) -> int:
        """Elements of the packed weight that a channel of the result has."""
        return self.window.rows.kernel * self.window.columns.kernel * self.window.inputs

    @property
    def weight(self) -> Any:
        """The parameter that is read packed."""
        return self.window.weight

    def packed(self, weight: Array) -> Array:
        """The elements of a weight as :meth:`make` reads them: by group, tile of channels, taps, inputs, lanes."""
        window = self.window
        axes = [axis for axis in window.weight_axes if axis >= 0]
        array = np.transpose(weight, axes).reshape(window.groups * window.outputs, self.channel_weights)
        pieces = []
        for part in np.split(array, self.groups):
            for first, count, lanes in self.parts:
                width = sum(lanes)
                tiles = part[first : first + count * width].reshape(count, width, -1)
                pieces.append(tiles.transpose(0, 2, 1).reshape(-1))
        return np.ascontiguousarray(np.concatenate(pieces))

    def make(self, row: Any, image: Any, load: Load, store: Store) -> Any:
        """The statement that makes row ``row`` of image ``image`` (expressions)."""

        def made(group: Any, first: Any, lanes: list[int], count: int) -> Any:
            tile = counter("tile", count)
            start = first + tile * index(sum(lanes))
            channels = _Channels(self, row, image, load, store, group, start, lanes)
            return loop_nest([(tile, count)], channels.made())

        return self._all_channels(made)

    def make_all(
        self, height: int, image: Any, load: Load, store: Store, input_bytes: int, weight_bytes: int, kept_bytes: int
    ) -> Any:
        """The statement that makes all ``height`` rows of image ``image``.

        Of the ``input_bytes`` of the operands or the ``weight_bytes`` a part of ``kept_bytes`` stays at a time.
        """
        steps = self._steps(height)

        def made(group: Any, first: Any, lanes: list[int], count: int) -> Any:
            width = sum(lanes)
            tiles = Walk("tile", count, weight_bytes * width / (self.channels * self.groups))
            statements = []
            for place, number, columns in steps:

                def body(tile: Any, step: Any, place: int = place, columns: int = columns) -> Any:
                    start = simplified(first + tile * index(width))
                    channels = _Channels(self, step, image, load, store, group, start, lanes)
                    if self.columns is self.window.columns:
                        return channels.made()
                    return channels.tile(simplified(index(place) + step * index(columns)), columns)

                share = input_bytes / self.groups / max(1, sum(n for _, n, _ in steps))
                statements.append(blocked(tiles, Walk("row", number, share), kept_bytes, body))
            return sequence(statements)

        return self._all_channels(made)

    def in_parts(self, made: Callable[[Part], Any]) -> Any:
        """``made(part)`` for all parts of the channels, each a tile, one after another."""

        def tiles(group: Any, first: Any, lanes: list[int], count: int) -> Any:
            tile = counter("tile", count)
            start = simplified(first + tile * index(sum(lanes)))
            return loop_nest([(tile, count)], made(Part(self, group, start, lanes)))

        return self._all_channels(tiles)

    def _steps(self, height: int) -> list[tuple[int, int, int]]:
        """(first column, how many such steps follow one another, columns of each): rows, or tiles of all columns."""
        if self.columns is self.window.columns:
            return [(0, height, 0)]
        width = self.tile.columns
        whole, rest = divmod(self.columns.size, width)
        return [(0, whole, width)] + ([(whole * width, 1, rest)] if rest else [])

    def _all_channels(self, made: Callable[[Any, Any, list[int], int], Any]) -> Any:
        """``made(group, first channel, lanes, number of tiles)`` for all channels."""
        group = counter("group", self.groups)
        body = [made(group, index(first), lanes, count) for first, count, lanes in self.parts]
        return loop_nest([(group, self.groups)], sequence(body))


class Part:
    """The channels of one tile: ``count`` of them from ``channel`` (an expression), counted over all groups."""

    def __init__(self, kernel: WindowKernel, group: Any, first: Any, lanes: list[int]) -> None:
        self._kernel, self._group, self._first, self._lanes = kernel, group, first, lanes
        self.count = sum(lanes)
        outputs = index(kernel.window.outputs)
        self.channel = simplified(first if kernel.window.depthwise else group * outputs + first)

    def make(self, row: Any, image: Any, load: Load, store: Store) -> Any:
        """The statement that makes these channels of a row; ``load`` has their packed weights from place 0 on."""
        channels = _Channels(self._kernel, row, image, load, store, self._group, self._first, self._lanes)
        channels.weights = index(0)
        return channels.made()


class _Channels:
    """All columns of one tile of channels."""

    def __init__(
        self,
        kernel: WindowKernel,
        row: Any,
        image: Any,
        load: Load,
        store: Store,
        group: Any,
        first: Any,
        lanes: Sequence[int],
    ) -> None:
        self.kernel, self.window = kernel, kernel.window
        self.row, self.image, self.load, self.store = row, image, load, store
        self.group, self.first, self.lanes = group, first, list(lanes)
        self.width = sum(lanes)
        self.slots = kernel.input_lanes or self.width  # sums of a column
        whole = group * index(self.window.outputs) + first if not self.window.depthwise else first
        self.channel = whole
        self.weights = whole * index(kernel.channel_weights)

    def made(self) -> Any:
        """Tiles of columns one after another; those whose taps all lie in the input in loops."""
        columns = self.kernel.columns
        statements: list[Any] = []
        run: list[tuple[int, int]] = []
        for first, count in [*column_parts(columns.size, self.kernel.tile.columns), (-1, 0)]:
            inner = all(columns.inside(first + c, k) for c in (0, count - 1) for k in range(columns.kernel))
            if run and (not inner or count != run[0][1] or first < 0):
                statements.append(self._loop(run))
                run = []
            if first >= 0 and inner:
                run.append((first, count))
            elif first >= 0:
                statements.append(self.tile(index(first), count, first))
        return sequence(statements)

    def _loop(self, run: list[tuple[int, int]]) -> Any:
        first, count = run[0]
        if len(run) == 1:
            return self.tile(index(first), count, None)
        block = loop_var("columns")
        return loop_nest([(block, len(run))], self.tile(index(first) + block * index(count), count, None))

    def tile(self, start: Any, count: int, known: int | None = None) -> Any:
        """``count`` columns from ``start``, whose number is ``known`` where some of their taps are outside."""
        sums = tirx.decl_buffer([index(count * self.slots)], self.kernel.dtype, name="sums", scope=REGISTER_SCOPE)
        zero = self.window.block.init
        lanes = [self.slots] if self.kernel.input_lanes else self.lanes
        begin = self._each(
            0, count, lambda column, at: BufferStore(sums, zero, [column * index(self.slots) + at]), lanes
        )
        end = self._each(0, count, lambda column, at: self._stored(sums, start, column, at))
        return sequence([tirx.AllocBuffer(sums), begin, *self._rows(sums, start, count, known), end])

    def _rows(self, sums: Any, start: Any, count: int, known: int | None) -> list[Any]:
        axis = self.window.rows
        tap = counter("tap_row", axis.kernel)
        taps = self._taps(sums, start, count, known, tap)
        if not taps:  # padding is all that these columns see
            return []
        body = sequence(taps)
        if axis.padded:
            place = self.row * index(axis.stride) + tap * index(axis.dilation) - index(axis.padding)
            body = tirx.IfThenElse(tirx.And(place >= index(0), place < index(axis.input_size)), body, None)
        return [loop_nest([(tap, axis.kernel)], body)]

    def _taps(self, sums: Any, start: Any, count: int, known: int | None, tap_row: Any) -> list[Any]:
        axis = self.kernel.columns
        if known is None and axis.kernel > 1 and not self.window.depthwise:  # shorter code, and as fast
            tap = loop_var("tap_column")
            every = self._inputs(sums, start, list(range(count)), tap_row, tap)
            return [loop_nest([(tap, axis.kernel)], every)]
        statements = []
        for tap in range(axis.kernel):
            columns = [c for c in range(count) if known is None or axis.inside(known + c, tap)]
            if columns:
                statements.append(self._inputs(sums, start, columns, tap_row, index(tap)))
        return statements

    def _inputs(self, sums: Any, start: Any, columns: list[int], tap_row: Any, tap: Any) -> Any:
        if self.kernel.input_lanes:
            return self._input_vectors(sums, start, columns, tap_row, tap)
        inputs = self.window.inputs
        one = counter("input", inputs)
        place = (tap_row * index(self.window.columns.kernel) + tap) * index(inputs) + one

        def add(column: Any, at: Any) -> Any:
            weight = simplified(self.weights + place * index(self.width) + at)
            value = self._product(start + column, at, (one, tap_row, tap), weight)
            where = [column * index(self.width) + at]
            return BufferStore(sums, sums[where[0]] + value, where)

        return loop_nest([(one, inputs)], self._each(columns[0], len(columns), add))

    def _input_vectors(self, sums: Any, start: Any, columns: list[int], tap_row: Any, tap: Any) -> Any:
        """Of one output channel: every lane sums up input channels of its own."""
        inputs, lanes = self.window.inputs, self.slots
        whole, rest = divmod(inputs, lanes)
        statements = []
        for first, number, count in ((0, whole, lanes), (whole * lanes, 1, rest)):
            if not count:
                continue
            vector = counter("inputs", number)
            begin = index(first) + vector * index(lanes)

            def add(column: Any, at: Any, begin: Any = begin) -> Any:
                one = begin + at
                place = (tap_row * index(self.window.columns.kernel) + tap) * index(inputs) + one
                value = self._product(start + column, index(0), (one, tap_row, tap), simplified(self.weights + place))
                where = [column * index(lanes) + at]
                return BufferStore(sums, sums[where[0]] + value, where)

            statements.append(loop_nest([(vector, number)], self._each(columns[0], len(columns), add, [count])))
        return sequence(statements)

    def _total(self, sums: Any, column: Any, at: Any) -> Any:
        """The finished sum of a column and a channel of the tile."""
        lanes = self.kernel.input_lanes
        if not lanes:
            return sums[column * index(self.width) + at]
        return functools.reduce(
            lambda total, lane: total + sums[column * index(lanes) + index(lane)],
            range(1, lanes),
            sums[column * index(lanes)],
        )

    def _product(self, column: Any, lane: Any, taps: tuple[Any, Any, Any], weight: Any) -> Any:
        window = self.window
        # Within a group the operand's channel does not depend on the result's.
        channel = self.first + lane if window.depthwise else self.group * index(window.outputs)
        values = self._places(window.block, channel, column)
        values |= {var: place for var, place in zip(window.taps, taps, strict=True) if var is not None}

        def read(buffer: Any, places: list[Any]) -> Any:
            if buffer.same_as(window.weight):
                return self.load(buffer, [weight])
            return self.load(buffer, [simplified(place) for place in places])

        return rewritten(window.product, values, read)

    def _stored(self, sums: Any, start: Any, column: Any, at: Any) -> Any:
        kernel = self.kernel
        block = kernel.last or self.window.block
        values = self._places(block, self.channel + at, start + column)
        places = [simplified(substituted(place, values)) for place in block.indices]
        total = self._total(sums, column, at)
        if kernel.last is None:
            return self.store(places, total)

        def read(buffer: Any, inner: list[Any]) -> Any:
            if buffer.same_as(self.window.block.buffer):
                return total
            return self.load(buffer, [simplified(place) for place in inner])

        return self.store(places, rewritten(block.value, values, read))

    def _places(self, block: Block, channel: Any, column: Any) -> dict[Any, Any]:
        """What the variables of a block's result stand for."""
        row, width = self.row, self.window.columns.size
        if self.kernel.columns is not self.window.columns:
            row, column = simplified(column // index(width)), simplified(column % index(width))
        window = self.window
        values = {window.channel_axis: channel, window.column_axis: column, window.image_axis: self.image}
        return {var: values.get(axis, row) for axis, var in enumerate(block.indices) if isinstance(var, Var)}

    def _each(
        self, first: int, count: int, statement: Callable[[Any, Any], Any], vectors: Sequence[int] | None = None
    ) -> Any:
        """``statement(column, channel of the tile)`` for some columns and all channels of the tile, or all lanes of
        ``vectors``."""
        column = counter("column", count)
        body = []
        start = 0
        for lanes in vectors or self.lanes:
            lane = counter("lane", lanes)
            body.append(vectorized(lane, lanes, statement(index(first) + column, index(start) + lane)))
            start += lanes
        return loop_nest([(column, count)], sequence(body), tirx.ForKind.UNROLLED)
