"""ChannelRoles: how operators treat channels, found from the facts that a graph has of them.

Kinds of operators:

- ``channel``: channel c of the result depends on channel c of its operands: pointwise, depthwise convolution with as
  many channels on both sides, pooling, resizing, a reduction of everything but channels, moves within channels.
- ``mix``: convolution (grouped, transposed, and depthwise with more output channels too) and dense, with constant
  weights.
- ``move``: copies from one channel to another (concat, slice, reshape, permute, ..): like ``mix`` without sums.
- ``whole``: anything else (softmax, norms, products of two activations, what is unknown): operands and result whole.

Whatever is not certain from the facts is ``whole``, which needs most; facts that allow two readings count as uncertain.
"""

from __future__ import annotations

import math
from typing import Literal

from tvm_fusion.cost_models.sizes import channel_axis, output_channels
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator, Tensor

Kind = Literal["channel", "mix", "move", "whole"]
_CONVOLUTIONS = tuple(f"conv{rank}d{suffix}" for rank in (1, 2, 3) for suffix in ("", "_transpose"))
_DEPTHWISE = tuple(f"depthwise_{name}" for name in _CONVOLUTIONS)
_POOLS = ("max_pool1d", "max_pool2d", "max_pool3d", "avg_pool1d", "avg_pool2d", "avg_pool3d", "adaptive_avg_pool2d")
_REDUCTIONS = ("global_avg_pool2d", "mean", *(f"reduce_{name}" for name in ("mean", "sum", "max", "min", "prod")))
_RESHAPES = ("reshape", "expand_dims", "squeeze", "flatten", "batch_flatten")
_MOVES = (*_RESHAPES, "permute", "slice", "take", "pad", "pixel_shuffle")
JOINS = ("concat", "stack")


class ChannelRoles:
    """Kind of every operator, and by operand whether it is read channel by channel.

    ``by_channel[i]`` has one entry for each operand of operator i, in the order of its inputs. A ``mix`` or ``move``
    may take any operand channel by channel; then its result is complete only when the last one has passed.
    """

    def __init__(self, graph: OperatorGraph) -> None:
        self.graph = graph
        self.kinds: list[Kind] = []
        self.by_channel: list[tuple[bool, ...]] = []
        for op in graph.operators:
            operands = [graph.tensor(operand) for operand in op.inputs]
            kind = kind_of(op, operands)
            self.kinds.append(kind)
            if kind == "channel" and op.pointwise:
                self.by_channel.append(tuple(_aligned(op, operand) for operand in operands))
            else:
                self.by_channel.append((kind != "whole",) * len(operands))


def kind_of(op: Operator, operands: list[Tensor]) -> Kind:
    """How an operator with these operands treats channels."""
    if op.pointwise:
        return "channel"
    if op.type in JOINS:
        return "move" if operands else "whole"
    if len(operands) != 1:
        return "whole"
    operand = operands[0]
    if op.type in (*_CONVOLUTIONS, *_DEPTHWISE) and op.weight_elements:
        same = output_channels(op) == output_channels(operand) and channel_axis(op) == channel_axis(operand)
        return "channel" if op.type in _DEPTHWISE and same else "mix"
    if op.type == "dense":
        return "mix" if _contracts_channels(op, operand) else "whole"
    if op.type in (*_POOLS, "resize2d"):
        return "channel" if _same_channels(op, operand) else "whole"
    if op.type in _REDUCTIONS:
        return "channel" if _reduces_all_but_channels(op, operand) else "whole"
    if op.type in _MOVES:
        return "channel" if _moves_within_channels(op, operand) else "move"
    return "whole"


def _same_channels(op: Tensor, operand: Tensor) -> bool:
    """Ranks, channel axes and channels agree."""
    axis = channel_axis(op)
    if not op.shape or len(op.shape) != len(operand.shape) or channel_axis(operand) != axis:
        return False
    return op.shape[axis] == operand.shape[axis]


def _aligned(op: Operator, operand: Tensor) -> bool:
    """Whether broadcasting puts the operand's channels on those of the result."""
    axis = channel_axis(op) - len(op.shape) + len(operand.shape)
    if not op.shape or axis < 0 or axis != channel_axis(operand):
        return False
    return operand.shape[axis] == op.shape[channel_axis(op)]


def _contracts_channels(op: Operator, operand: Tensor) -> bool:
    """A product with constant weights on the right: all channels of one token make its new channels.

    Weights on the left mix tokens instead. They differ in the length of the sums (from the MACs) and in the weights,
    unless there are as many tokens as channels: then nothing is certain.
    """
    outputs, results = output_channels(op), op.elements
    if op.macs <= 0 or op.macs % results:
        return False
    length = op.macs // results
    constants = op.weight_elements - length * outputs
    if constants < 0 or constants % outputs or constants // outputs >= length:
        return False
    if operand.height == 1 and operand.elements == length:
        return True
    tokens = operand.shape[-2] if len(operand.shape) > 1 else 1
    last = channel_axis(operand) == len(operand.shape) - 1
    return last and output_channels(operand) == length != tokens and operand.shape[:-1] == op.shape[:-1]


def _reduces_all_but_channels(op: Operator, operand: Tensor) -> bool:
    """One value a channel is left: it is the channels' only if no other axis has as many."""
    channels = output_channels(operand)
    if op.height != 1 or op.elements != channels or output_channels(op) != channels:
        return False
    certain = op.type == "global_avg_pool2d" or len(op.shape) == len(operand.shape)
    return _one_axis_of(operand, channels) or (certain and channel_axis(operand) == channel_axis(op) and channels > 1)


def _moves_within_channels(op: Operator, operand: Tensor) -> bool:
    """Certain only where the shapes leave no other possibility."""
    channels, axis = output_channels(operand), channel_axis(operand)
    if output_channels(op) != channels or not op.shape or not operand.shape:
        return False
    if op.type in _RESHAPES:  # the leading axes stay, or the last one does
        first = axis == channel_axis(op) == 1 and op.shape[:2] == operand.shape[:2]
        return first or (axis == len(operand.shape) - 1 and channel_axis(op) == len(op.shape) - 1)
    if op.type == "permute":
        return channels > 1 and _one_axis_of(operand, channels)
    return op.type == "pad" and _same_channels(op, operand)


def _one_axis_of(tensor: Tensor, size: int) -> bool:
    return tensor.shape.count(size) == 1 and math.prod(tensor.shape) > 0
