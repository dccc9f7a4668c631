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
    if isinstance(expr, prim.Let):  # one variable is bound in one place only
        var = Var(expr.var.name, expr.var.ty)
        return prim.Let(var, rewritten(expr.value, values, load), rewritten(expr.body, {**values, expr.var: var}, load))
    return _rebuilt(expr, lambda part: rewritten(part, values, load))


def substituted(expr: Any, values: Mapping[Any, Any]) -> Any:
    """``expr`` with variables replaced by ``values``."""
    return rewritten(expr, values, lambda buffer, indices: buffer[tuple(indices)])


def mapped(expr: Any, change: Callable[[Any], Any]) -> Any:
    """``expr`` with ``change`` applied to everything inside it, from the leaves up."""
    return change(_rebuilt(expr, lambda part: mapped(part, change)))


def _rebuilt(expr: Any, change: Callable[[Any], Any]) -> Any:
    """``expr`` with its direct operands changed."""
    if isinstance(expr, TensorLoad):
        return expr.source[tuple(change(i) for i in expr.indices)]
    if isinstance(expr, prim.Let):
        return prim.Let(expr.var, change(expr.value), change(expr.body))
    if isinstance(expr, prim.Cast):
        return prim.Cast(expr.ty, change(expr.value))
    if isinstance(expr, prim.Select):
        return prim.Select(*(change(part) for part in (expr.condition, expr.true_value, expr.false_value)))
    if isinstance(expr, prim.Not):
        return prim.Not(change(expr.a))
    if isinstance(expr, Call):
        return Call(expr.op, [change(arg) for arg in expr.args], expr.attrs, expr.ty_args, ret_ty=expr.ty)
    if hasattr(expr, "a") and hasattr(expr, "b"):
        return type(expr)(change(expr.a), change(expr.b))
    return expr


def parts(expr: Any) -> Iterator[Any]:
    """``expr`` and everything inside it."""
    yield expr
    for inner in operands(expr):
        yield from parts(inner)


def operands(expr: Any) -> Iterator[Any]:
    """Expressions directly inside of ``expr``."""
    for name in ("a", "b", "value", "condition", "true_value", "false_value", "body"):
        inner = getattr(expr, name, None)
        if inner is not None and hasattr(inner, "ty"):
            yield inner
    for name in ("args", "indices"):
        for inner in getattr(expr, name, ()):
            if hasattr(inner, "ty"):
                yield inner


def loads(expr: Any, buffer: Any) -> list[list[Any]]:
    """Indices of every load of ``buffer`` in ``expr``."""
    return [list(p.indices) for p in parts(expr) if isinstance(p, TensorLoad) and p.source.same_as(buffer)]


def uses(expr: Any, var: Any) -> bool:
    """Whether ``expr`` depends on a variable."""
    return any(isinstance(p, Var) and p.same_as(var) for p in parts(expr))


def chooses(expr: Any) -> bool:
    """Whether ``expr`` is an if_then_else, of which one value alone is computed."""
    return isinstance(expr, Call) and str(getattr(expr.op, "name", "")).endswith("if_then_else")
