"""channel_weights: the place of an operator's weights, through which they pass a channel at a time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.channel_operator import ChannelOperator, Mode
from tvm_fusion.passes.lowering.channel_parts import channel_parts
from tvm_fusion.passes.lowering.expressions import loads
from tvm_fusion.passes.lowering.group_writer import element_count
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.ordered_part import OrderedPart
from tvm_fusion.passes.lowering.weight_part import WeightPart

# From elements and dtype to a new buffer.
New = Callable[[int, str], Any]
# Of fewer elements a channel it does not matter in which order DRAM has them.
_LEAST_ORDERED = 4


@dataclass(frozen=True)
class ChannelWeights:
    """Weights of several numbers, parameters of the operator's function. ``passing`` come for each channel, which is an
    axis of theirs (None: all of them at once); ``last`` come after all channels, in the same place: what a sum needs
    when it is complete. ``orders``: of those that DRAM has channel after channel the axes in their order there.
    ``room``: elements of the place, where it must be so large."""

    passing: dict[Any, int | None]
    last: tuple[Any, ...] = ()
    orders: Mapping[Any, tuple[int, ...]] | None = None
    room: int = 0

    def parts(self, dram: Mapping[Any, Any], new: New) -> tuple[dict[Any, WeightPart], dict[Any, WeightPart]]:
        """Parts of ``passing`` and of ``last``, by parameter; ``dram`` has the buffers, ``new`` makes places on chip,
        one for each dtype."""
        places: dict[str, Any] = {}

        def place_of(elements: int, dtype: str) -> Any:
            if dtype not in places:
                places[dtype] = new(max(elements, self.room), dtype)
            return places[dtype]

        found = []
        for params in (list(self.passing), list(self.last)):
            sizes: dict[str, int] = defaultdict(int)
            offsets = {}
            for param in params:
                offsets[param] = sizes[str(param.dtype)]
                sizes[str(param.dtype)] += self._elements(param)
            for dtype, elements in sizes.items():
                place_of(elements, dtype)
            found.append({p: self._part(p, dram[p], places[str(p.dtype)], offsets[p]) for p in params})
        return found[0], found[1]

    def _elements(self, param: Any) -> int:
        axis = self.passing.get(param)
        return element_count(param) // (1 if axis is None else int(param.shape[axis]))

    def _part(self, param: Any, dram: Any, place: Any, offset: int) -> WeightPart:
        shape, axis = tuple(int(size) for size in param.shape), self.passing.get(param)
        if param in (self.orders or {}):
            return OrderedPart(dram, place, 1, axis, 0, offset, shape, (self.orders or {})[param])
        return WeightPart(dram, place, 1, axis, offset=offset)


def channel_weights(
    operator: Operator, blocks: list[Block], how: ChannelOperator, params: list[Any], closest: Callable[[Any], Any]
) -> ChannelWeights:
    """How the weights ``params`` of an operator pass. ``closest``: from a parameter to the axis that is to vary first,
    if one is to.

    Raises NotLowered for weights that do not belong to one channel.
    """
    axes: dict[Any, int | None]
    last: list[Any] = []
    room = 0
    if how.mode is Mode.SUM:
        axes, last, room = _of_sums(operator, how, params)
    elif how.mode is Mode.WHOLE or output_channels(operator) == 1:
        axes = dict.fromkeys(params)
    else:
        axes = {**channel_parts(operator, blocks, params).axes} if params else {}
    orders = {}
    for param, axis in axes.items():
        if axis is not None and element_count(param) // int(param.shape[axis]) >= _LEAST_ORDERED:
            end = closest(param)
            others = [k for k in range(len(param.shape)) if k not in (axis, end)]
            orders[param] = (axis, *others, *([] if end is None else [end]))
    return ChannelWeights(axes, tuple(last), orders, room)


def _of_sums(
    operator: Operator, how: ChannelOperator, params: list[Any]
) -> tuple[dict[Any, int | None], list[Any], int]:
    """Weights of one input channel; what belongs to output channels comes after the last one."""
    block, var = how.rows.adding
    channels = dict(block.reduce)[var]
    axes: dict[Any, int | None] = {}
    last = []
    for param in params:
        found: set[int | None] = set()
        for places in loads(block.value, param):
            exact = [axis for axis, place in enumerate(places) if place.same_as(var)]
            whole = len(exact) == 1 and int(param.shape[exact[0]]) == channels
            found.add(exact[0] if whole else None)
        if not found:
            last.append(param)
        elif None in found or len(found) > 1:
            raise NotLowered(operator.name, f"its weights do not go channel by channel ({operator.type})")
        else:
            axes[param] = found.pop()
    if len({str(param.dtype) for param in params}) > 1:
        raise NotLowered(operator.name, f"it adds up channels with weights of several dtypes ({operator.type})")
    room = sum(map(element_count, params)) // channels
    if sum(map(element_count, last)) > room:
        raise NotLowered(
            operator.name, f"its constants find no room where the weights of a channel pass ({operator.type})"
        )
    return axes, last, room
