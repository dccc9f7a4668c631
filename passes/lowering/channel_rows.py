"""ChannelRows: OperatorRows whose rows are whole maps, in which what is added up lies where the result will be."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm import tirx
from tvm_ffi import structural_equal

from tvm_fusion.passes.lowering.expressions import index, loads, simplified, substituted, uses
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.operator_rows import Home, Load, OperatorRows, Scratch, Store
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.taps import Cell, Taps, Window, window_taps
from tvm_fusion.passes.lowering.vector_nest import Loops, closest_loop, vector_nest, vectorized

# Addends that a sum gets between two visits to memory.
_ADDENDS = 8


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
        loops, moved = [], {}
        for var, extent in free:
            first, end = cell.ranges.get(var, (0, extent))
            if end - first == 1:
                moved[var] = index(first)
                continue
            own = loop_var(var.name)  # TVM wants a loop variable to have one range throughout
            loops.append((own, end - first))
            moved[var] = own + index(first) if first else own

        def build(inside: dict[Any, Any], lane: Any, count: int) -> Any:
            every = {**values, **inside, **{var: substituted(place, inside) for var, place in moved.items()}}
            value = self._read(step.block.buffer, self._places(step, every))
            for other in more:
                for tap in cell.taps:
                    taps = {var: index(place) for var, place in tap.items()}
                    value = self._value(window.value, {**every, **other, **taps}, load, {step.block.buffer: value})
            made = vectorized(lane, count, self._assign(step, every, value))
            for condition in window.left:
                made = tirx.IfThenElse(simplified(substituted(condition, every)), made, None)
            return made

        return vector_nest(loops, self._lanes(), build)


def _tests(window: Window, var: Any) -> bool:
    return any(uses(condition, var) for condition in window.left)


def _parts(extent: int, width: int) -> list[tuple[int, int, int]]:
    """(first, number of blocks, width of a block): whole blocks, then the rest."""
    whole, rest = divmod(extent, width)
    return [(0, whole, width), *([(whole * width, 1, rest)] if rest else [])]
