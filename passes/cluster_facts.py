"""Facts of bindings that together are one operator: where the work is, and what changes of dtype around it add."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvm_fusion.graph.demand import ALL, RowDemand
from tvm_fusion.passes.clusters import PRODUCTS
from tvm_fusion.passes.elementwise import QUANTIZING
from tvm_fusion.passes.relax_tools import dtype_of, op_name, shape_of, variables
from tvm_fusion.passes.row_facts import RowAxes, RowFacts, constants_of, row_facts

_AVERAGING = ("mean", "sum", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d", "nn.adaptive_avg_pool2d")
# Element by element, on the way from 8 bits to the dtype that an operator computes in.
_WIDENING = ("dequantize", "astype", "subtract")


def cluster_facts(members: Sequence[Any], values: Mapping[Any, Any], axes: RowAxes) -> RowFacts:
    """Facts of the first of ``members`` (in the order of execution) that does more than widen its operand.

    Row axes of the members before it are entered in ``axes``; demands are on what these read.
    """
    source: dict[Any, Any] = {}
    for var in members:
        read = variables(values[var])
        if len(members) == 1 or op_name(values[var]) not in _WIDENING or len(read) != 1:
            break
        source[var] = source.get(read[0], read[0])
        axes.axes[var] = axes.axis(read[0])
    facts = row_facts(values[var], axes)
    demands: dict[Any, RowDemand] = {}
    for operand, demand in facts.demands.items():
        real = source.get(operand, operand)
        demands[real] = demand if demands.get(real, demand) == demand else ALL
    return RowFacts(facts.type, facts.row_axis, demands, facts.window, facts.pointwise, facts.macs, facts.known)


def changes_width(root: Any, members: Sequence[Any], values: Mapping[Any, Any]) -> bool:
    """Whether a quantised operator's result is of another dtype than an operand: it cannot take its place in memory."""
    if not any(op_name(values[var]) in QUANTIZING for var in members):
        return False
    read = {var for member in members for var in variables(values[member])} - set(members)
    return any(dtype_of(var) != dtype_of(root) for var in read)


def weight_bytes(members: Sequence[Any], values: Mapping[Any, Any], dtype: str) -> int | None:
    """Bytes of an operator's tensor constants, each in its own dtype; None if all are of ``dtype``."""
    constants = [c for var in members if hasattr(values[var], "args") for c in constants_of(values[var])]
    if all(dtype_of(c) == dtype for c in constants):
        return None
    return sum(math.prod(shape_of(c)) * np.dtype(dtype_of(c)).itemsize for c in constants)


def accumulators(members: Sequence[Any], values: Mapping[Any, Any], row_elements: int) -> dict[str, Any]:
    """What holds the sums of one row of an operator with 8-bit operands, as attributes; empty for any other.

    Products of integers add up in int32, means in the dtype of the mean.
    """
    names = {var: op_name(values[var]) for var in members}
    quantised = any(name in QUANTIZING for name in names.values())
    sums = [
        var
        for var, name in names.items()
        if (name in PRODUCTS and dtype_of(var) == "int32") or (name in _AVERAGING and quantised)
    ]
    if not sums:
        return {}
    bytes_ = row_elements * np.dtype(dtype_of(sums[0])).itemsize
    return {"accumulator_dtype": dtype_of(sums[0]), "accumulator_row_bytes": bytes_}
