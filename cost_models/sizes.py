"""Bytes of every tensor and weight of a graph on an accelerator, and of a group's boundary."""

from __future__ import annotations

import re
from functools import reduce
from operator import or_

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members
from tvm_fusion.graph.operator import Operator, Tensor


def dtype_bits(dtype: str) -> int:
    """Bits of one element of an IR dtype. Raises CostModelError for one without a width."""
    if dtype == "bool":
        return 8
    match = re.search(r"(\d+)", dtype)
    if match is None:
        raise CostModelError(f"dtype {dtype!r} has no known width in bits")
    return int(match[1])


def bytes_of(elements: int, bits: int) -> int:
    """Whole bytes that hold ``elements`` of ``bits`` each."""
    return -(-elements * bits // 8)


def weight_bytes(operator: Operator, accelerator: Accelerator) -> int:
    """Bytes of an operator's weights on an accelerator; where that says no bits, those of the weights' own dtypes."""
    if accelerator.weight_bits is None and operator.weight_bytes is not None:
        return operator.weight_bytes
    return bytes_of(operator.weight_elements, accelerator.weight_bits or dtype_bits(operator.weight_dtype))


def weight_part_bytes(operator: Operator, accelerator: Accelerator) -> int:
    """Bytes of the weights of one output channel, the least that an operator can run with."""
    return -(-weight_bytes(operator, accelerator) // output_channels(operator))


def output_channels(operator: Tensor) -> int:
    """Channels of a tensor: axis 1 of a map (N, C, H, W), the last axis of tokens and of a dense result."""
    return operator.shape[channel_axis(operator)] if operator.shape else 1


def channel_axis(tensor: Tensor) -> int:
    """The dimension whose indices are the channels: 1 of a map (N, C, H, W), else the last one."""
    rank, rows = len(tensor.shape), tensor.row_axis
    map_ = rows >= 2 if rows is not None else rank >= 4
    return 1 if map_ else rank - 1


class Sizes:
    """Byte counts by operand id; ``tensor_bytes`` are for the whole batch, rows for one image."""

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator) -> None:
        self.graph = graph
        ids = [*range(-len(graph.inputs), 0), *range(len(graph))]
        tensors = {i: graph.tensor(i) for i in ids}
        self.row_bits = {
            i: t.row_elements * (accelerator.activation_bits or dtype_bits(t.dtype)) for i, t in tensors.items()
        }
        self.image_bytes = {
            i: bytes_of(t.elements, accelerator.activation_bits or dtype_bits(t.dtype)) for i, t in tensors.items()
        }
        self.tensor_bytes = {i: t.batch * self.image_bytes[i] for i, t in tensors.items()}
        self.weight_bytes = [weight_bytes(op, accelerator) for op in graph.operators]
        # Operators that read inputs of the network, and which.
        self._network_reads = {
            op.id: operands for op in graph.operators if (operands := {i for i in op.inputs if i < 0})
        }
        self._first = mask_of(self._network_reads)

    def line_bytes(self, tensor: int, lines: int) -> int:
        """On-chip bytes of ``lines`` rows of a tensor; every row starts at a whole byte."""
        return lines * -(-self.row_bits[tensor] // 8)

    def weights(self, mask: int) -> int:
        """Weight bytes of all operators of a group."""
        return sum(map(self.weight_bytes.__getitem__, members(mask)))

    def outside_inputs(self, mask: int) -> list[int]:
        """Outside tensors that a group reads: network inputs in their order, then operators ascending."""
        network = {operand for i in members(mask & self._first) for operand in self._network_reads[i]}
        outside = reduce(or_, map(self.graph.predecessor_masks.__getitem__, members(mask)), 0) & ~mask
        return [*sorted(network, reverse=True), *members(outside)]

    def outputs(self, mask: int) -> list[int]:
        """Tensors made by a group and needed outside it, or by the user."""
        successors = self.graph.successor_masks
        final = self.graph.output_mask
        return [i for i in members(mask) if successors[i] & ~mask or final >> i & 1]

    def boundary_bytes(self, mask: int) -> tuple[int, int]:
        """DRAM bytes of a group's inputs and outputs, each tensor once."""
        tensor_bytes = self.tensor_bytes
        return (
            sum(map(tensor_bytes.__getitem__, self.outside_inputs(mask))),
            sum(map(tensor_bytes.__getitem__, self.outputs(mask))),
        )

    def compulsory_bytes(self) -> int:
        """Network inputs that are read, outputs and weights, once each: no plan moves less."""
        everything = (1 << len(self.graph)) - 1
        return sum(self.boundary_bytes(everything)) + sum(self.weight_bytes)
