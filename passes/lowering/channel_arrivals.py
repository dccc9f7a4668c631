"""channel_arrivals: an operator that moves elements, as what becomes of each channel of its operands."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tvm.ir.expr import TensorLoad

from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.access_terms import linear
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import as_int, index, parts, rewritten, simplified, substituted
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_rows import Load, Store
from tvm_fusion.passes.lowering.pieces import pieces
from tvm_fusion.passes.lowering.vector_nest import Loops, vector_nest, vectorized


@dataclass(frozen=True)
class Arrival:
    """Elements of the result that are copied from one operand (parameter ``source`` of the operator's function):
    ``store[indices] = value`` inside ``loops``. Channels ``first`` .. ``end`` - 1 of the operand come there, when
    ``var``, if there is one, is the channel - ``first``."""

    source: Any
    loops: tuple[tuple[Any, int], ...]
    indices: tuple[Any, ...]
    value: Any
    var: Any
    first: int
    end: int

    def everything(self, image: Mapping[Any, Any], load: Load, store: Store, lanes: int) -> Any:
        """The statement that copies all of them."""
        return self._copied(list(self.loops), dict(image), load, store, lanes)

    def channel(self, channel: Any, image: Mapping[Any, Any], load: Load, store: Store, lanes: int) -> Any:
        """The statement that copies what comes from ``channel``."""
        loops = [(var, extent) for var, extent in self.loops if not var.same_as(self.var)]
        fixed = {} if self.var is None else {self.var: simplified(channel - index(self.first))}
        return self._copied(loops, {**image, **fixed}, load, store, lanes)

    def _copied(self, loops: Loops, fixed: dict[Any, Any], load: Load, store: Store, lanes: int) -> Any:
        def build(inside: dict[Any, Any], lane: Any, count: int) -> Any:
            values = {**fixed, **inside}
            places = [simplified(substituted(place, values)) for place in self.indices]
            value = rewritten(self.value, values, lambda b, at: load(b, [simplified(place) for place in at]))
            return vectorized(lane, count, store(places, value))

        return vector_nest([loop for loop in loops if loop[0] not in fixed], lanes, build)


def channel_arrivals(
    operator: Operator, blocks: Sequence[Block], channel_axis_of: Callable[[Any], int | None], image: Any
) -> list[Arrival]:
    """What becomes of every operand. ``channel_axis_of``: of a parameter of the operator's function the axis of its
    channels, None if that is not known; ``image``: the loop over images, if there are several.

    Raises NotLowered where an element of the result is not a copy of one element, of a channel that is known.
    """
    if len(blocks) != 1 or blocks[0].reduce:
        raise _refusal(operator)
    block = blocks[0]
    found = []
    for piece in pieces(block.value, dict(block.spatial)):
        shift, loops = {}, block.spatial
        if piece.var is not None:  # TVM wants a loop variable to have one range throughout
            own = loop_var(piece.var.name)
            shift = {piece.var: own + index(piece.first) if piece.first else own}
            loops = tuple((own, piece.end - piece.first) if var.same_as(piece.var) else (var, n) for var, n in loops)
        value = substituted(piece.value, shift)
        read = [part for part in parts(value) if isinstance(part, TensorLoad)]
        if len(read) != 1:
            raise _refusal(operator)
        axis = channel_axis_of(read[0].source)
        place = None if axis is None else simplified(read[0].indices[axis])
        var, first, end = _range(operator, place, loops, image)
        indices = tuple(simplified(substituted(place, shift)) for place in block.indices)
        found.append(Arrival(read[0].source, loops, indices, value, var, first, end))
    return found


def _range(operator: Operator, place: Any, loops: Sequence[tuple[Any, int]], image: Any) -> tuple[Any, int, int]:
    """The loop that goes over channels, the first of them and their end."""
    if place is None:
        return None, 0, -1  # of an operand that is there as a whole, if so
    steps, start = linear(place, [var for var, _ in loops])
    first = as_int(simplified(start))
    moving = {var: step for var, step in (steps or {}).items() if step}
    if steps is None or first is None or len(moving) > 1 or any(step != 1 for step in moving.values()):
        return None, 0, -1
    if not moving:
        return None, first, first + 1
    (var,) = moving
    if image is not None and var.same_as(image):
        raise _refusal(operator)
    return var, first, first + dict(loops)[var]


def _refusal(operator: Operator) -> NotLowered:
    return NotLowered(operator.name, f"its operands' channels do not arrive one after another ({operator.type})")
