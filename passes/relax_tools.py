"""Small readers of Relax expressions, shared by the passes that look at operators."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from tvm import relax
from tvm.ir import GlobalVar, IRModule
from tvm.ir.expr import GenericConst

from tvm_fusion.errors import FrontendError

Array = npt.NDArray[Any]


def shape_of(expr: Any) -> tuple[int, ...]:
    """Static shape of a tensor expression; a tuple of tensors counts as one row of all its elements.

    Raises FrontendError if a size is not a number.
    """
    ty = expr.ty
    if isinstance(ty, relax.TupleType):
        return (sum(math.prod(_tensor_shape(field, expr)) for field in ty.fields),)
    return _tensor_shape(ty, expr)


def _tensor_shape(ty: Any, expr: Any) -> tuple[int, ...]:
    name = getattr(expr, "name", "a tensor")
    shape = getattr(ty, "shape", None)
    if shape is None:
        raise FrontendError(f"tensor {name!r} has no known shape; every shape must be static")
    sizes = []
    for size in getattr(shape, "values", ()):
        try:
            sizes.append(int(size))
        except (TypeError, ValueError):
            raise FrontendError(f"tensor {name!r} has the dynamic size {size}; only the batch may be dynamic") from None
    return tuple(sizes)


def dtype_of(expr: Any) -> str:
    """Dtype of a tensor expression, or of the first tensor of a tuple."""
    ty = expr.ty
    while isinstance(ty, relax.TupleType):
        ty = ty.fields[0]
    return str(ty.dtype)


def op_name(expr: Any) -> str:
    """Name of a call's operator without "relax."; "" for anything that is no operator call."""
    if not isinstance(expr, relax.Call):
        return ""
    name = str(getattr(expr.op, "name", ""))
    return name.removeprefix("relax.") if hasattr(expr.op, "get_attr") else f"call:{name}"


def callee_name(value: Any) -> str | None:
    """Name of the function of the module that a binding calls, directly or by call_tir."""
    if not isinstance(value, relax.Call):
        return None
    called = [value.op, *value.args[:1]]
    return next((str(callee.name_hint) for callee in called if isinstance(callee, GlobalVar)), None)


def is_constant(expr: Any) -> bool:
    """Whether an expression is a tensor constant."""
    return isinstance(expr, GenericConst)


def constant_array(expr: Any) -> Array:
    """The value of a tensor constant."""
    return np.asarray(expr.value.numpy())


def constant(value: Array) -> Any:
    """A tensor constant of exactly the array's dtype."""
    array = np.ascontiguousarray(value) if value.ndim else value
    return relax.const(array, str(array.dtype))


def ints(values: Any) -> tuple[int, ...]:
    """A sequence of TVM integers as Python ones."""
    return tuple(int(value) for value in values)


def main_function(mod: IRModule) -> Any:
    """The function "main". Raises FrontendError if the module has none or has control flow in it."""
    names = [var.name_hint for var in mod.get_global_vars()]
    if "main" not in names:
        raise FrontendError(f"the module has no function 'main'; it has: {', '.join(sorted(names)) or 'none'}")
    function = mod["main"]
    if not isinstance(function, relax.Function):
        raise FrontendError("function 'main' is not a Relax function")
    return function


def bindings(function: Any) -> Iterator[Any]:
    """Bindings of a function's blocks in their order. Raises FrontendError for control flow."""
    for block in function.body.blocks:
        for binding in block.bindings:
            value = binding.value if hasattr(binding, "value") else binding
            if isinstance(value, relax.If | relax.Function):
                kind = "control flow" if isinstance(value, relax.If) else "an inner function"
                raise FrontendError(f"binding {binding.var.name!r} is {kind}; only straight dataflow is allowed")
            yield binding


def variables(expr: Any) -> list[Any]:
    """Variables that a binding's value reads, in the order of its arguments."""
    if isinstance(expr, relax.Var):
        return [expr]
    if isinstance(expr, relax.Call):
        return [var for arg in expr.args for var in variables(arg)]
    if isinstance(expr, relax.Tuple):
        return [var for field in expr.fields for var in variables(field)]
    if isinstance(expr, relax.TupleGetItem):
        return variables(expr.tuple_value)
    return []
