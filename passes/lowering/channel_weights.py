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
from tvm_fusion.passes.lowering.weight_part import WeightPart, part_elements

# From elements and dtype to a new buffer.
New = Callable[[int, str], Any]


@dataclass(frozen=True)
class ChannelWeightParts:
    """By parameter of the operator's function. ``passing`` come for each channel; ``last`` after all of them, in the
    same place: what a sum needs when it is complete."""

    passing: dict[Any, WeightPart]
    last: dict[Any, WeightPart]

    @property
    def every(self) -> dict[Any, WeightPart]:
        """Both."""
        return {**self.passing, **self.last}


def channel_weights(
    operator: Operator, blocks: list[Block], how: ChannelOperator, dram: Mapping[Any, Any], new: New
) -> ChannelWeightParts:
    """``dram``: by parameter the weights in DRAM, of several numbers each.

    Raises NotLowered for weights that do not belong to one channel.
    """
    axes: dict[Any, int | None]
    if how.mode is Mode.SUM:
        return _of_sums(operator, how, dram, new)
    if how.mode is Mode.WHOLE or output_channels(operator) == 1:
        axes = dict.fromkeys(dram)
    else:
        axes = {**channel_parts(operator, blocks, list(dram)).axes} if dram else {}
    return ChannelWeightParts(_side_by_side(dram, axes, new), {})


def _of_sums(operator: Operator, how: ChannelOperator, dram: Mapping[Any, Any], new: New) -> ChannelWeightParts:
    """Weights of one input channel; what belongs to output channels comes after the last one."""
    block, var = how.rows.adding
    channels = dict(block.reduce)[var]
    axes: dict[Any, int | None] = {}
    last = {}
    for param, buffer in dram.items():
        found: set[int | None] = set()
        for places in loads(block.value, param):
            exact = [axis for axis, place in enumerate(places) if place.same_as(var)]
            whole = len(exact) == 1 and int(param.shape[exact[0]]) == channels
            found.add(exact[0] if whole else None)
        if not found:
            last[param] = buffer
        elif None in found or len(found) > 1:
            raise NotLowered(operator.name, f"its weights do not go channel by channel ({operator.type})")
        else:
            axes[param] = found.pop()
    dtypes = {str(buffer.dtype) for buffer in dram.values()}
    if len(dtypes) > 1:
        raise NotLowered(operator.name, f"it adds up channels with weights of several dtypes ({operator.type})")
    first = {param: dram[param] for param in axes}
    room = sum(map(element_count, dram.values())) // channels
    if sum(map(element_count, last.values())) > room:
        raise NotLowered(
            operator.name, f"its constants find no room where the weights of a channel pass ({operator.type})"
        )
    place = _Lazy(new, room)
    return ChannelWeightParts(
        _side_by_side(first, axes, place.new), _side_by_side(last, dict.fromkeys(last), place.new)
    )


class _Lazy:
    """One place of ``room`` elements for whoever asks."""

    def __init__(self, new: New, room: int) -> None:
        self._new, self._room = new, room
        self._found: Any = None

    def new(self, _elements: int, dtype: str) -> Any:
        if self._found is None:
            self._found = self._new(self._room, dtype)
        return self._found


def _side_by_side(dram: Mapping[Any, Any], axes: Mapping[Any, int | None], new: New) -> dict[Any, WeightPart]:
    """Parts of one channel, those of one dtype in one buffer."""
    sizes: dict[str, int] = defaultdict(int)
    offsets = {}
    for param, buffer in dram.items():
        dtype = str(buffer.dtype)
        offsets[param] = sizes[dtype]
        sizes[dtype] += part_elements(buffer, 1, axes[param], 0)
    places = {dtype: new(elements, dtype) for dtype, elements in sizes.items()}
    return {
        param: WeightPart(buffer, places[str(buffer.dtype)], 1, axes[param], offset=offsets[param])
        for param, buffer in dram.items()
    }
