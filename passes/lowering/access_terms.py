"""Terms of TIR that accesses are analysed by: sums of loop variables, conditions inside expressions, sizes."""

from __future__ import annotations

import math
from typing import Any

from tvm.ir.expr import Call, Var
from tvm.ir.prim import expr as prim

from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.lowering.expressions import as_int, chooses, index, uses


class UnknownAccessError(Exception):
    """TIR of a form that the analysis does not follow."""


def decides(expr: Any) -> bool:
    """Whether an expression computes only some of its operands, as its first one says."""
    return chooses(expr) or isinstance(expr, (prim.Select, prim.And, prim.Or))


def deciding_operands(expr: Any) -> list[Any]:
    """Operands of such an expression, the deciding one first."""
    names = ("condition", "a", "b", "true_value", "false_value")
    return list(expr.args) if isinstance(expr, Call) else [getattr(expr, n) for n in names if hasattr(expr, n)]


def linear(expr: Any, variables: list[Any]) -> tuple[dict[Any, int] | None, Any]:
    """``expr`` as a sum of variables times whole numbers, and what is left without them; (None, ...) if it is none."""
    if isinstance(expr, Var) and any(expr.same_as(var) for var in variables):
        return {expr: 1}, index(0)
    if not any(uses(expr, var) for var in variables):
        return {}, expr
    if isinstance(expr, (prim.Add, prim.Sub)):
        sign = 1 if isinstance(expr, prim.Add) else -1
        (a, start_a), (b, start_b) = linear(expr.a, variables), linear(expr.b, variables)
        if a is not None and b is not None:
            return {v: a.get(v, 0) + sign * b.get(v, 0) for v in {**a, **b}}, type(expr)(start_a, start_b)
    if isinstance(expr, prim.Mul):
        factor, other = (expr.a, expr.b) if as_int(expr.a) is not None else (expr.b, expr.a)
        inner, start = linear(other, variables)
        scale = as_int(factor)
        if inner is not None and scale is not None:
            return {var: step * scale for var, step in inner.items()}, start * factor
    return None, expr


def buffer_bytes(buffer: Any) -> int:
    """Bytes of an allocation."""
    return math.prod(int(size) for size in buffer.shape) * -(-dtype_bits(str(buffer.dtype)) // 8)
