"""OrderedPart: a WeightPart of which DRAM has the channels one after another, each in the order in which it is read."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm.tirx import BufferStore

from tvm_fusion.passes.lowering.expressions import index, simplified
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.row_buffers import flat
from tvm_fusion.passes.lowering.vector_nest import Loops
from tvm_fusion.passes.lowering.weight_part import WeightPart
from tvm_fusion.passes.relax_tools import Array


@dataclass(frozen=True)
class OrderedPart(WeightPart):
    """One channel at a time of a weight of ``shape``, whose axes lie in ``order``, the channels' first; ``dram`` has
    one axis."""

    shape: tuple[int, ...] = ()
    order: tuple[int, ...] = ()

    def copied(self, first: Any, count: int) -> tuple[Loops, Any]:
        """As WeightPart's, for one channel."""
        assert count == 1, "one channel at a time"
        size = math.prod(self.shape) // self.shape[self.order[0]]
        element = loop_var("w")

        def statement(values: dict[Any, Any]) -> Any:
            place = values.get(element, element)
            source = simplified(first * index(size) + place)
            return BufferStore(self.copy, self.dram[source], [simplified(place + index(self.offset))])

        return [(element, size)], statement

    def _place(self, places: list[Any]) -> Any:
        sizes = [self.shape[axis] for axis in self.order[1:]]
        place = flat(sizes, [places[axis] for axis in self.order[1:]])
        return simplified(place + index(self.offset)) if self.offset else place


def ordered(array: Array, order: tuple[int, ...]) -> Array:
    """A weight as DRAM has it."""
    return array.transpose(order).reshape(-1).copy()
