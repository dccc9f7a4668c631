"""evaluated: the value of an expression of TIR, for numbers or for arrays of numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tvm.ir.expr import TensorLoad, Var
from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.access_terms import UnknownAccessError
from tvm_fusion.passes.lowering.expressions import as_int, chooses

# From a buffer and the values of indices to the value there.
Read = Callable[[Any, list[Any]], Any]
_BINARY: dict[Any, Callable[[Any, Any], Any]] = {
    prim.Add: lambda a, b: a + b,
    prim.Sub: lambda a, b: a - b,
    prim.Mul: lambda a, b: a * b,
    prim.FloorDiv: lambda a, b: a // b,
    prim.FloorMod: lambda a, b: a % b,
    prim.Min: np.minimum,
    prim.Max: np.maximum,
    prim.LT: lambda a, b: a < b,
    prim.LE: lambda a, b: a <= b,
    prim.GT: lambda a, b: a > b,
    prim.GE: lambda a, b: a >= b,
    prim.EQ: lambda a, b: a == b,
    prim.NE: lambda a, b: a != b,
    prim.And: np.logical_and,
    prim.Or: np.logical_or,
}


def evaluated(expr: Any, values: Mapping[Any, Any], read: Read) -> Any:
    """``expr`` with whole numbers, or arrays of them, for its variables, and ``read`` for its loads.

    Raises UnknownAccessError for a variable without a value and for what is no arithmetic of whole numbers.
    """
    if isinstance(expr, int):
        return expr
    constant = as_int(expr)
    if constant is not None:
        return constant
    if isinstance(expr, Var) and expr in values:
        return values[expr]
    if isinstance(expr, prim.Cast):
        return evaluated(expr.value, values, read)
    if isinstance(expr, prim.Not):
        return np.logical_not(evaluated(expr.a, values, read))
    if isinstance(expr, TensorLoad):
        return read(expr.source, [evaluated(place, values, read) for place in expr.indices])
    if chooses(expr):
        return np.where(*(evaluated(part, values, read) for part in expr.args))
    operation = _BINARY.get(type(expr))
    if operation is not None:
        return operation(evaluated(expr.a, values, read), evaluated(expr.b, values, read))
    raise UnknownAccessError(f"it has an extent or a place that is not known before it runs: {expr}")
