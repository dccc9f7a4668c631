"""torch operators that TVM's importer lacks or gets wrong, in Relax."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import relax

from tvm_fusion.errors import FrontendError


def converters() -> dict[str, Callable[[Any, Any], Any]]:
    """Converters by the names of torch's operators, as ``from_exported_program`` takes them."""
    return {
        "amax.default": _extremum(relax.op.max),
        "amin.default": _extremum(relax.op.min),
        "div.Tensor_mode": _rounded_division,
    }


def _extremum(operator: Any) -> Callable[[Any, Any], Any]:
    def convert(node: Any, importer: Any) -> Any:
        x, *rest = importer.retrieve_args(node)
        axes = rest[0] if rest else node.kwargs.get("dim")
        keep = rest[1] if len(rest) > 1 else node.kwargs.get("keepdim", False)
        return importer.block_builder.emit(operator(x, axis=list(axes) if axes else None, keepdims=bool(keep)))

    return convert


def _rounded_division(node: Any, importer: Any) -> Any:
    """The importer takes a number's own dtype, which need not be the tensor's."""
    dividend, divisor, *rest = importer.retrieve_args(node)
    mode = rest[0] if rest else node.kwargs.get("rounding_mode")
    if isinstance(divisor, int | float):
        divisor = relax.const(divisor, str(dividend.ty.dtype))
    emit = importer.block_builder.emit
    if mode == "floor":
        return emit(relax.op.floor_divide(dividend, divisor))
    quotient = emit(relax.op.divide(dividend, divisor))
    if mode not in (None, "trunc"):
        raise FrontendError(f"rounding mode {mode!r} of a division is unknown")
    return emit(relax.op.trunc(quotient)) if mode else quotient
