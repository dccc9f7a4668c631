"""structure_key: a hash of everything a group's requirement depends on; equal groups of any networks share it."""

from __future__ import annotations

import hashlib

from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.graph.operator import Tensor


def structure_key(graph: OperatorGraph, mask: int) -> str:
    """32 hexadecimal digits over the operators' facts, the inner edges and which tensors enter and leave.

    Names and positions in the network do not count. Of two groups with the same key every requirement is equal.
    """
    place = {i: k for k, i in enumerate(members(mask))}
    outside: dict[int, int] = {}
    rows: list[object] = []
    for i in place:
        operator = graph.operators[i]
        for operand in operator.inputs:
            if operand not in place:
                outside.setdefault(operand, -1 - len(outside))
        operands = [place[operand] if operand in place else outside[operand] for operand in operator.inputs]
        leaves = bool(graph.successor_masks[i] & ~mask or graph.output_mask >> i & 1)
        facts = (operator.type, operator.weight_elements, operator.weight_dtype, operator.pointwise, operator.demands)
        mixed = () if operator.weight_bytes is None else (operator.weight_bytes,)
        rows.append(((*facts, *mixed), _shape(operator), operands, leaves))
    rows.append([_shape(graph.tensor(operand)) for operand in outside])
    return hashlib.sha256(repr(rows).encode()).hexdigest()[:32]


def _shape(tensor: Tensor) -> tuple[object, ...]:
    return tensor.shape, tensor.row_axis, tensor.batch, tensor.dtype
