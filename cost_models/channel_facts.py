"""ChannelFacts: bytes and readings of every operator under channel streaming, prepared once for a graph.

Tensors stand in masks by operand id + ``shift``, so that network inputs (ids below 0) have bits too.
"""

from __future__ import annotations

from typing import NamedTuple

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.channel_roles import JOINS, ChannelRoles, Kind
from tvm_fusion.cost_models.sizes import Sizes, bytes_of, dtype_bits, output_channels
from tvm_fusion.graph.graph import OperatorGraph, demand_order, mask_of, members


class Reading(NamedTuple):
    """One operand: its bit, whether it may come channel by channel, and whether the result may take its memory."""

    operand: int
    bit: int
    by_channel: bool
    same_size: bool


class OperatorFacts(NamedTuple):
    """One operator; ``part_bytes``: weights of one output channel (all of them for ``whole``); ``sum_part_bytes``: of
    one input channel; ``in_place_for``: the pointwise operator that is its only consumer, or -1."""

    kind: Kind
    joins: bool
    pointwise: bool
    reads: tuple[Reading, ...]
    weight_bytes: int
    part_bytes: int
    sum_part_bytes: int
    in_place_for: int


class ChannelFacts:
    """``image_bytes``, ``channel_bytes`` and ``sum_bytes`` (held as sums) of every tensor, by operand id."""

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes) -> None:
        self.graph, self.sizes = graph, sizes
        self.shift = len(graph.inputs)
        self.roles = ChannelRoles(graph)
        ids = [*range(-self.shift, 0), *range(len(graph))]
        self.image_bytes = sizes.image_bytes
        self.channel_bytes: dict[int, int] = {}
        self.sum_bytes: dict[int, int] = {}
        self.one_row = 0  # mask of tensors
        for t in ids:
            tensor = graph.tensor(t)
            bits = accelerator.activation_bits or dtype_bits(tensor.dtype)
            self.channel_bytes[t] = bytes_of(-(-tensor.elements // output_channels(tensor)), bits)
            self.sum_bytes[t] = bytes_of(tensor.elements, accelerator.accumulator_bits)
            self.one_row |= (tensor.height == 1) << t + self.shift
        self.bytes_by_bit = [self.image_bytes[t] for t in ids]
        self.reader_masks = [mask_of(graph.consumers[t]) for t in ids]  # by bit: operators
        self.operators = [self._facts(i) for i in range(len(graph))]
        self.pointwise_mask = mask_of(op.id for op in graph.operators if op.pointwise)
        # By bit: operators that must have the tensor whole.
        self.whole_reader_masks = [0] * len(ids)
        for i, facts in enumerate(self.operators):
            for read in facts.reads:
                if not read.by_channel:
                    self.whole_reader_masks[read.operand + self.shift] |= 1 << i

    def held_bytes(self, tensors: int) -> int:
        """Bytes of a mask of tensors, each whole."""
        return sum(map(self.bytes_by_bit.__getitem__, members(tensors)))

    def _facts(self, i: int) -> OperatorFacts:
        graph, op, kind = self.graph, self.graph.operators[i], self.roles.kinds[i]
        reads = []
        for operand, by_channel in sorted(
            zip(op.inputs, self.roles.by_channel[i], strict=True), key=lambda pair: demand_order(pair[0])
        ):
            same = by_channel and op.pointwise and graph.tensor(operand).shape == op.shape
            same = same and self.image_bytes[operand] == self.image_bytes[i]
            reads.append(Reading(operand, 1 << operand + self.shift, by_channel, same))
        weight = self.sizes.weight_bytes[i]
        inputs = output_channels(graph.tensor(op.inputs[0])) if op.inputs else 1
        consumers = graph.consumers[i]
        merges = False
        if len(consumers) == 1 and not graph.output_mask >> i & 1:
            consumer = graph.operators[consumers[0]]
            merges = consumer.pointwise and consumer.shape == op.shape
        return OperatorFacts(
            kind=kind,
            joins=op.type in JOINS,
            pointwise=op.pointwise,
            reads=tuple(reads),
            weight_bytes=weight,
            part_bytes=weight if kind == "whole" else -(-weight // output_channels(op)),
            sum_part_bytes=-(-weight // inputs),
            in_place_for=consumers[0] if merges else -1,
        )
