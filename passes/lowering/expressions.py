"""Expressions of TIR, walked and rewritten in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tvm import sym, tirx
from tvm.ir.expr import Call, TensorLoad, Var
from tvm.ir.prim import expr as prim

Load = Callable[[Any, list[Any]], Any]
INDEX = "int64"


def index(value: int) -> Any:
    """A whole number as indices and extents have it."""
    return tirx.IntImm(INDEX, value)


def as_int(expr: Any) -> int | None:
    """The value of an integer constant, else None."""
    return int(expr.value) if isinstance(expr, prim.IntImm) else None


def simplified(expr: Any) -> Any:
    """``expr`` in TVM's simplest form."""
    return sym.Analyzer().simplify(expr)


def rewritten(expr: Any, values: Mapping[Any, Any], load: Load) -> Any:
    """``expr`` with variables replaced by ``values`` and every load by ``load(buffer, rewritten indices)``."""
    if isinstance(expr, Var):
        return values.get(expr, expr)
    if isinstance(expr, TensorLoad):
        return load(expr.source, [rewritten(i, values, load) for i in expr.indices])
    if isinstance(expr, prim.Cast):
        return prim.Cast(expr.ty, rewritten(expr.value, values, load))
    if isinstance(expr, prim.Select):
        parts = (expr.condition, expr.true_value, expr.false_value)
        return prim.Select(*(rewritten(part, values, load) for part in parts))
    if isinstance(expr, prim.Not):
        return prim.Not(rewritten(expr.a, values, load))
    if isinstance(expr, Call):
        args = [rewritten(arg, values, load) for arg in expr.args]
        return Call(expr.op, args, expr.attrs, expr.ty_args, ret_ty=expr.ty)
    if isinstance(expr, prim.Let):
        bound = rewritten(expr.value, values, load)
        return rewritten(expr.body, {**values, expr.var: bound}, load)
    if hasattr(expr, "a") and hasattr(expr, "b"):
        return type(expr)(rewritten(expr.a, values, load), rewritten(expr.b, values, load))
    return expr


def parts(expr: Any) -> Iterator[Any]:
    """``expr`` and everything inside it."""
    yield expr
    for name in ("a", "b", "value", "condition", "true_value", "false_value", "body"):
        inner = getattr(expr, name, None)
        if inner is not None and hasattr(inner, "ty"):
            yield from parts(inner)
    for name in ("args", "indices"):
        for inner in getattr(expr, name, ()):
            if hasattr(inner, "ty"):
                yield from parts(inner)


def loads(expr: Any, buffer: Any) -> list[list[Any]]:
    """Indices of every load of ``buffer`` in ``expr``."""
    return [list(p.indices) for p in parts(expr) if isinstance(p, TensorLoad) and p.source.same_as(buffer)]


def uses(expr: Any, var: Any) -> bool:
    """Whether ``expr`` depends on a variable."""
    return any(isinstance(p, Var) and p.same_as(var) for p in parts(expr))
