"""ChannelRows: OperatorRows whose rows are whole maps, in which what is added up lies where the result will be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.ir.prim import expr as prim
from tvm.tirx import BufferStore
from tvm_ffi import structural_equal

from tvm_fusion.passes.lowering.expressions import index, loads, parts, simplified, substituted, uses
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.operator_rows import Home, Load, OperatorRows, Scratch, Store
from tvm_fusion.passes.lowering.row_buffers import REGISTER_SCOPE
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.taps import Cell, Taps, Window, window_taps
from tvm_fusion.passes.lowering.vector_nest import Loops, closest_loop, step_of, vector_nest, vectorized

# Addends that a sum gets between two visits to memory.
_ADDENDS = 8
# Vectors of sums side by side, so that one does not wait for the other.
_SUMS = 4


@dataclass
class ChannelRows(OperatorRows):
    """Padding is left out: where all taps of a window count and where only some do are loops of their own."""

    result: tuple[Any, Home] | None = None

    def keep_result(self, buffer: Any, home: Home) -> None:
        """The result is in ``buffer``, where ``home`` says; sums of which it is made may be there meanwhile."""
        self.result = buffer, home

    def _step(self, step: Any, values: dict[Any, Any], load: Load, store: Store, scratch: Scratch) -> Any:
        block = step.block
        if block.init is None:
            return super()._step(step, values, load, store, scratch)
        free = [(var, extent) for var, extent in block.spatial if var not in values]
        if self.result is not None and self._becomes_the_result(step):
            self._keep_at(step, *self.result)
        else:
            self._kept[block.buffer] = self._scratch(step, scratch)

        def started(inside: dict[Any, Any]) -> Any:
            return self._assign(step, inside, self._value(block.init, inside, load))

        start = self._spread(free, values, started)
        return sequence([start, self._added_up(step, free, list(block.reduce), values, load)])

    def _becomes_the_result(self, step: Any) -> bool:
        """Whether the result is these sums, or made of each of them where it is."""
        block, last = step.block, self.steps[-1].block
        readers = [other for other in self.blocks if other is not block and loads(other.value, block.buffer)]
        alike = str(block.buffer.dtype) == self.operator.dtype
        if not alike or any(other is not last for other in readers) or (last.reduce and last is not block):
            return False
        own = list(last.indices)
        found = [] if last is block else loads(last.value, block.buffer)
        shapes = [tuple(int(size) for size in buffer.shape) for buffer in (block.buffer, last.buffer)]
        return shapes[0] == shapes[1] and all(
            structural_equal(a, b) for places in found for a, b in zip(places, own, strict=True)
        )

    def _added_up(self, step: Any, free: Loops, inner: Loops, values: dict[Any, Any], load: Load) -> Any:
        block = step.block
        stored = self._assign(step, values, self._value(block.init, values, load))
        window = window_taps(block, free, inner, closest_loop(free, stored))
        if window is None:
            window = Window(block.value, (Cell({}, ({},)),), (), ())
        loops = [loop for loop in inner if loop[0] not in window.unrolled]
        dot = self._dot_loop(step, free, inner, values, load, window)
        if dot is not None:
            others = [loop for loop in loops if loop is not dot]
            return sequence([self._dotted(step, free, values, load, window, c, dot, others) for c in window.cells])
        several = _ADDENDS // max(len(cell.taps) for cell in window.cells) if window.cells else 1
        chosen = next((k for k in reversed(range(len(loops))) if not _tests(window, loops[k][0])), None)
        if chosen is None or several < 2:
            return loop_nest(loops, sequence([self._cell(step, free, values, load, window, c) for c in window.cells]))
        var, extent = loops.pop(chosen)
        made = []
        for first, count, width in _parts(extent, min(extent, several)):
            outer = loop_var(f"{var.name}_block") if count > 1 else index(0)
            more = tuple({var: simplified(index(first + k) + outer * index(width))} for k in range(width))
            cells = [self._cell(step, free, values, load, window, cell, more) for cell in window.cells]
            made.append(loop_nest([(outer, count)], sequence(cells)))
        return loop_nest(loops, sequence(made))

    def _dot_loop(
        self, step: Any, free: Loops, inner: Loops, values: dict[Any, Any], load: Load, window: Window
    ) -> tuple[Any, int] | None:
        """The loop over addends that lie close together in all that is read, if there is one: vectors go along it."""
        block = step.block
        if not isinstance(block.value, prim.Add) or not _is_zero(block.init):
            return None
        value = self._value(window.value, values, load, {block.buffer: self._value(block.init, values, load)})
        read = [part for part in parts(value) if isinstance(part, TensorLoad)]
        for loop in inner:
            if loop[0] in window.unrolled or _tests(window, loop[0]) or loop[1] < self._lanes() or self._lanes() < 2:
                continue
            if read and all(step_of(part, loop[0], [*free, *inner]) == 1 for part in read):
                return loop
        return None

    def _dotted(
        self,
        step: Any,
        free: Loops,
        values: dict[Any, Any],
        load: Load,
        window: Window,
        cell: Cell,
        dot: tuple[Any, int],
        others: Loops,
    ) -> Any:
        """What is added in the places of a cell, by vectors of sums along ``dot``, put together in the end."""
        block, lanes = step.block, self._lanes()
        width = lanes * min(_SUMS, dot[1] // lanes)
        whole, rest = divmod(dot[1], width)
        loops, moved = _moved(free, cell)
        every = {**values, **moved}
        sums = tirx.decl_buffer([index(width)], str(block.buffer.dtype), f"{block.name}_sums", scope=REGISTER_SCOPE)

        def stored(count: int, value: Callable[[Any], Any]) -> Any:
            lane = loop_var("lane")  # TVM wants a loop variable to have one range throughout
            return vectorized(lane, count, BufferStore(sums, value(lane), [lane]))

        def added(value: Any, place: Any) -> Any:
            for tap in cell.taps:
                taps = {var: index(at) for var, at in tap.items()} | {dot[0]: place}
                value = self._value(window.value, {**every, **taps}, load, {block.buffer: value})
            return value

        outer = counter("block", whole)
        zero = stored(width, lambda _: self._value(block.init, every, load))
        more = stored(width, lambda lane: added(sums[lane], outer * index(width) + lane))
        made = loop_nest([*others, (outer, whole)], self._where(window, every, more))
        statements = [tirx.AllocBuffer(sums), zero, made]
        if width > lanes:
            firsts = range(0, width, lanes)
            statements.append(stored(lanes, lambda lane: _tree([sums[lane + index(k)] for k in firsts])))
        own = self._read(block.buffer, self._places(step, every))
        statements.append(self._assign(step, every, own + _tree([sums[index(k)] for k in range(lanes)])))
        if rest:
            last = loop_var(dot[0].name)
            one = self._assign(step, every, added(own, index(whole * width) + last))
            statements.append(loop_nest([*others, (last, rest)], self._where(window, every, one)))
        return loop_nest(loops, sequence(statements))

    def _where(self, window: Window, every: dict[Any, Any], made: Any) -> Any:
        """A statement where the conditions that are left hold."""
        for condition in window.left:
            made = tirx.IfThenElse(simplified(substituted(condition, every)), made, None)
        return made

    def _cell(
        self,
        step: Any,
        free: Loops,
        values: dict[Any, Any],
        load: Load,
        window: Window,
        cell: Cell,
        more: tuple[Taps, ...] = ({},),
    ) -> Any:
        """What is added in the places of a cell: all of its taps, for what ``more`` says of other loops each."""
        loops, moved = _moved(free, cell)

        def build(inside: dict[Any, Any], lane: Any, count: int) -> Any:
            every = {**values, **inside, **{var: substituted(place, inside) for var, place in moved.items()}}
            value = self._read(step.block.buffer, self._places(step, every))
            for other in more:
                for tap in cell.taps:
                    taps = {var: index(place) for var, place in tap.items()}
                    value = self._value(window.value, {**every, **other, **taps}, load, {step.block.buffer: value})
            return self._where(window, every, vectorized(lane, count, self._assign(step, every, value)))

        return vector_nest(loops, self._lanes(), build)


def _moved(free: Loops, cell: Cell) -> tuple[Loops, dict[Any, Any]]:
    """Loops over the places of a cell, and what the variables of all places stand for then."""
    loops, moved = [], {}
    for var, extent in free:
        first, end = cell.ranges.get(var, (0, extent))
        if end - first == 1:
            moved[var] = index(first)
            continue
        own = loop_var(var.name)  # TVM wants a loop variable to have one range throughout
        loops.append((own, end - first))
        moved[var] = own + index(first) if first else own
    return loops, moved


def _tree(addends: list[Any]) -> Any:
    """Their sum, in pairs."""
    while len(addends) > 1:
        addends = [a + b for a, b in zip(addends[::2], addends[1::2], strict=False)] + addends[len(addends) // 2 * 2 :]
    return addends[0]


def _is_zero(value: Any) -> bool:
    return isinstance(value, (prim.IntImm, prim.FloatImm)) and float(value.value) == 0


def _tests(window: Window, var: Any) -> bool:
    return any(uses(condition, var) for condition in window.left)


def _parts(extent: int, width: int) -> list[tuple[int, int, int]]:
    """(first, number of blocks, width of a block): whole blocks, then the rest."""
    whole, rest = divmod(extent, width)
    return [(0, whole, width), *([(whole * width, 1, rest)] if rest else [])]
