"""channel_parts: the blocks of an operator for a part of its channels, whose weights alone are on chip."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tvm.ir.expr import Var

from tvm_fusion.cost_models.sizes import channel_axis
from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import loads, simplified, substituted, uses
from tvm_fusion.passes.lowering.loops import counter
from tvm_fusion.passes.lowering.not_lowered import NotLowered


@dataclass(frozen=True)
class ChannelParts:
    """``variables[k]``: the variable of block k for the channel of the result, None where the block makes something
    that all channels share. ``axes``: by weight (parameter of the operator's function) the axis of the channels."""

    blocks: tuple[Block, ...]
    variables: tuple[Any, ...]
    axes: dict[Any, int]

    def part(self, first: Any, count: int) -> list[Block]:
        """The blocks for ``count`` channels from ``first`` (an expression)."""
        return [
            block if var is None else _restricted(block, var, first, count)
            for block, var in zip(self.blocks, self.variables, strict=True)
        ]


def channel_parts(operator: Operator, blocks: Sequence[Block], weights: Collection[Any]) -> ChannelParts:
    """How an operator goes by parts of its channels. Raises NotLowered if a weight does not belong to one channel."""
    axis = channel_axis(operator) if operator.shape else None
    last = blocks[-1]
    place = None if axis is None else last.indices[axis]
    taken = operator.row_axis if operator.height > 1 else None
    if not isinstance(place, Var) or axis == taken or (operator.batch > 1 and axis == 0):
        raise _refusal(operator)
    variables: dict[Any, Any] = {last.buffer: place}
    for block in reversed(blocks[:-1]):
        variables[block.buffer] = _variable(block, blocks, variables)
    found = tuple(variables[block.buffer] for block in blocks)
    axes = {weight: _axis(operator, weight, blocks, found) for weight in weights}
    return ChannelParts(tuple(blocks), found, axes)


def _variable(block: Block, blocks: Sequence[Block], variables: dict[Any, Any]) -> Any:
    """The variable of a block that all its readers' channels are, None if they read it in another way."""
    axes = set()
    for reader in blocks:
        if reader.buffer.same_as(block.buffer):
            continue
        var = variables.get(reader.buffer)
        for places in loads(reader.value, block.buffer):
            exact = [axis for axis, place in enumerate(places) if var is not None and place.same_as(var)]
            others = [place for axis, place in enumerate(places) if axis not in exact]
            alone = len(exact) == 1 and not any(uses(place, var) for place in others)
            axes.add(exact[0] if alone else None)
    axis = axes.pop() if len(axes) == 1 else None
    place = None if axis is None else block.indices[axis]
    return place if isinstance(place, Var) else None


def _axis(operator: Operator, weight: Any, blocks: Sequence[Block], variables: Sequence[Any]) -> int:
    """The axis of a weight along which every block reads its own channels."""
    axes: set[int | None] = set()
    for block, var in zip(blocks, variables, strict=True):
        for places in loads(block.value, weight):
            exact = [axis for axis, place in enumerate(places) if var is not None and place.same_as(var)]
            extent = dict(block.spatial).get(var)
            whole = len(exact) == 1 and int(weight.shape[exact[0]]) == extent
            axes.add(exact[0] if whole else None)
    axis = axes.pop() if len(axes) == 1 else None
    if axis is None:
        raise _refusal(operator)
    return axis


def _restricted(block: Block, var: Any, first: Any, count: int) -> Block:
    own = counter("channel", count)
    values = {var: simplified(first + own)}
    spatial = tuple(
        (own, count) if loop.same_as(var) else (loop, extent)
        for loop, extent in block.spatial
        if count > 1 or not loop.same_as(var)
    )
    return replace(
        block,
        spatial=spatial,
        indices=tuple(simplified(substituted(place, values)) for place in block.indices),
        value=substituted(block.value, values),
        init=None if block.init is None else substituted(block.init, values),
    )


def _refusal(operator: Operator) -> NotLowered:
    return NotLowered(operator.name, f"its weights do not go channel by channel ({operator.type})")
