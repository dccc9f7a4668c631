"""ChannelOperator: how one operator of a group that streams channels is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any

from tvm_ffi import structural_equal

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.sizes import channel_axis, dtype_bits, output_channels
from tvm_fusion.graph.operator import Operator, Tensor
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.channel_arrivals import Arrival, channel_arrivals
from tvm_fusion.passes.lowering.channel_phases import by_channels
from tvm_fusion.passes.lowering.channel_rows import ChannelRows
from tvm_fusion.passes.lowering.expressions import loads
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_rows import OperatorRows
from tvm_fusion.passes.lowering.vectors import Vectors


class Mode(Enum):
    """Makes its channels one by one, adds up those that come, copies those that come, or is executed at once."""

    CHANNEL = auto()
    SUM = auto()
    MOVE = auto()
    WHOLE = auto()


@dataclass(frozen=True)
class ChannelOperator:
    """``cuts``: channel indices at which something begins or ends for it. ``arrivals`` of a MOVE: those of streams, and
    those of tensors that are there as a whole."""

    mode: Mode
    rows: OperatorRows
    cuts: frozenset[int]
    arriving: tuple[Arrival, ...] = ()
    there: tuple[Arrival, ...] = ()


def channel_operator(
    operator: Operator,
    blocks: list[Block],
    operands: Mapping[Any, tuple[int, Tensor]],
    streams: frozenset[int],
    at_end: bool,
    sums: bool,
    vectors: Vectors,
) -> ChannelOperator:
    """``operands``: by parameter of the operator's function (operand id, tensor); ``streams``: those that come channel
    by channel; ``at_end``: the result is complete only when all have come, as a sum of them where ``sums``.

    Raises NotLowered if it does not go that way.
    """
    channels = output_channels(operator)
    if not at_end:
        rows = ChannelRows(by_channels(operator), blocks, vectors, unit="channel")
        return ChannelOperator(Mode.CHANNEL, rows, frozenset((0, channels)))
    whole = replace(operator, row_axis=None)
    passing = [(param, tensor) for param, (operand, tensor) in operands.items() if operand in streams]
    if all(output_channels(tensor) == 1 for _, tensor in passing):
        return ChannelOperator(Mode.WHOLE, OperatorRows(whole, blocks, vectors), frozenset((0, 1)))
    if not sums:
        return _moving(operator, blocks, operands, streams, OperatorRows(whole, blocks, vectors))
    if len(passing) != 1:
        raise NotLowered(operator.name, f"it adds up the channels of {len(passing)} operands ({operator.type})")
    ((param, tensor),) = passing
    axis, count = _channel_axis(param, tensor), output_channels(tensor)
    rows = ChannelRows(whole, blocks, vectors, param, axis, count, unit="channel")
    _check_sums(operator, rows)
    return ChannelOperator(Mode.SUM, rows, frozenset((0, count)))


def _check_sums(operator: Operator, rows: OperatorRows) -> None:
    """Sums are where the result will be: of the same width, and each result made of its own sum."""
    added, _ = rows.adding
    bits = dtype_bits(operator.dtype)
    if str(added.buffer.dtype) != operator.dtype or bits != OWN_WIDTHS.accumulator_bits:
        raise NotLowered(
            operator.name,
            f"its sums are {added.buffer.dtype} and its result {operator.dtype}; both must be of "
            f"{OWN_WIDTHS.accumulator_bits} bits and one dtype ({operator.type})",
        )
    last = rows.steps[-1].block
    own = list(last.indices)
    for places in loads(last.value, added.buffer) if last is not added else []:
        if not all(structural_equal(a, b) for a, b in zip(places, own, strict=True)):
            raise NotLowered(operator.name, f"its result is not made sum by sum ({operator.type})")


def _moving(
    operator: Operator,
    blocks: list[Block],
    operands: Mapping[Any, tuple[int, Tensor]],
    streams: frozenset[int],
    rows: OperatorRows,
) -> ChannelOperator:
    axes = {param: _channel_axis(param, tensor) for param, (_, tensor) in operands.items()}
    image = rows.steps[-1].image
    arriving, there = [], []
    for arrival in channel_arrivals(operator, blocks, axes.get, image):
        operand, tensor = operands.get(arrival.source, (None, None))
        if operand in streams and tensor is not None:
            if not 0 <= arrival.first < arrival.end <= output_channels(tensor):
                raise NotLowered(
                    operator.name, f"its operands' channels do not arrive one after another ({operator.type})"
                )
            arriving.append(arrival)
        else:
            there.append(arrival)
    cuts = {0, *(edge for arrival in arriving for edge in (arrival.first, arrival.end))}
    return ChannelOperator(Mode.MOVE, rows, frozenset(cuts), tuple(arriving), tuple(there))


def _channel_axis(param: Any, tensor: Tensor) -> int | None:
    """The axis of the channels in what an operator reads, the tensor or a view of it with one element a channel."""
    shape = tuple(int(size) for size in param.shape)
    if shape == tensor.shape:
        return channel_axis(tensor)
    channels = output_channels(tensor)
    axes = [axis for axis, size in enumerate(shape) if size == channels]
    return axes[0] if len(axes) == 1 and channels == tensor.elements else None
