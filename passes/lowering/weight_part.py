"""WeightPart: the place on chip of a weight that passes in parts of its operator's channels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm.tirx import BufferStore

from tvm_fusion.passes.lowering.expressions import index, simplified
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.row_buffers import flat
from tvm_fusion.passes.lowering.vector_nest import Loops


@dataclass(frozen=True)
class WeightPart:
    """``width`` channels of ``dram`` at a time, in that order flat in ``copy``.

    The channels are those of axis ``axis`` of ``dram``; of a packed weight, which has one axis, ``packed`` elements
    belong to each. Without an axis the weight is there whole. ``offset``: where in ``copy`` it begins.
    """

    dram: Any
    copy: Any
    width: int
    axis: int | None = None
    packed: int = 0
    offset: int = 0

    def copied(self, first: Any, count: int) -> tuple[Loops, Any]:
        """Loops, and what copies an element from what their variables stand for: ``count`` channels from ``first``."""
        shape = self._shape(count * self.packed if self.packed else count)
        loops = [(loop_var(f"w{axis}"), size) for axis, size in enumerate(shape)]

        def statement(values: dict[Any, Any]) -> Any:
            places = [values.get(var, var) for var, _ in loops]
            source = list(places)
            if self.packed:
                source = [simplified(first * index(self.packed) + places[0])]
            elif self.axis is not None:
                source[self.axis] = simplified(first + places[self.axis])
            return BufferStore(self.copy, self.dram[tuple(source)], [self._place(places)])

        return loops, statement

    def at(self, indices: list[Any], first: Any) -> Any:
        """The element at ``indices`` of the weight (packed: of the part), while the part from ``first`` is there."""
        if self.packed:
            return self.copy[tuple(indices)]
        places = list(indices)
        if self.axis is not None:
            places[self.axis] = simplified(places[self.axis] - first)
        return self.copy[self._place(places)]

    def _place(self, places: list[Any]) -> Any:
        place = flat(self._shape(self.width), places)
        return simplified(place + index(self.offset)) if self.offset else place

    def _shape(self, channels: int) -> list[int]:
        shape = [int(size) for size in self.dram.shape]
        if self.packed:
            return [channels]
        if self.axis is not None:
            shape[self.axis] = channels
        return shape


def part_elements(dram: Any, width: int, axis: int | None, packed: int) -> int:
    """Elements that ``width`` channels of a weight have."""
    shape = [int(size) for size in dram.shape]
    if packed:
        return width * packed
    return math.prod(shape) if axis is None else math.prod(shape) // shape[axis] * width
