"""TVM's ONNX importer, made to give Relax operators where it would lower straight to TIR."""

from __future__ import annotations

from typing import Any

import numpy as np
from tvm import relax, topi
from tvm.ir import IRModule
from tvm.relax.frontend.onnx.onnx_frontend import ONNXGraphImporter

from tvm_fusion.passes.relax_tools import constant_array, is_constant, op_name

_PAD_MODES = {topi.nn.mirror_pad: "reflect", topi.nn.replicate_pad: "replicate", topi.nn.circular_pad: "circular"}


def import_model(model: Any, shapes: dict[str, list[int]]) -> IRModule:
    """The module of an ONNX model whose inputs have ``shapes``; its weights are constants."""
    versions = [int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    importer = ONNXGraphImporter(shapes, "float32")
    importer.bb = _Builder()
    module = importer.from_onnx(model.graph, versions[0] if versions else 1)
    return relax.transform.DeadCodeElimination(["main"])(module)


class _Builder(relax.BlockBuilder):  # type: ignore[misc]
    """A block builder that knows the Relax operators of the tensor expressions that the importer emits."""

    def emit_te(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Emit the Relax operator that computes the same as the tensor expression, else the expression."""
        call = self._operator(func, args) if not kwargs else None
        return super().emit_te(func, *args, **kwargs) if call is None else self.emit(call)

    def _operator(self, func: Any, args: tuple[Any, ...]) -> Any:
        if func is topi.maximum:
            return self._maximum(*args)
        if func is topi.minimum:
            return self._minimum(*args)
        if func is topi.tile:
            return relax.op.tile(args[0], [int(times) for times in args[1]])
        if func is topi.nn.pad:
            return _pad(args[0], args[1], args[2], "constant", args[3])
        if func in _PAD_MODES and args[3:] in ((), ("REFLECT",)):
            return _pad(args[0], args[1], args[2], _PAD_MODES[func])
        return None

    def _maximum(self, x: Any, low: Any) -> Any:
        bound = self._bound(low)
        return relax.op.maximum(x, low if bound is None else relax.const(bound, str(x.ty.dtype)))

    def _minimum(self, x: Any, high: Any) -> Any:
        """The second half of a Clip; with the first one it is one operator."""
        bound = self._bound(high)
        if bound is None:
            return relax.op.minimum(x, high)
        value: Any = self.lookup_binding(x) if isinstance(x, relax.Var) else None
        if op_name(value) == "maximum" and is_constant(value.args[1]) and "float" in str(x.ty.dtype):
            low = constant_array(value.args[1])
            if not low.ndim and float(low) <= bound:
                return relax.op.clip(value.args[0], float(low), bound)
        return relax.op.minimum(x, relax.const(bound, str(x.ty.dtype)))

    def _bound(self, bound: Any) -> float | None:
        """The number that bounds a Clip, if it is one; NaN, which ONNX takes for none, is left to the importer."""
        if isinstance(bound, int | float):
            return float(bound)
        value: Any = self.lookup_binding(bound) if isinstance(bound, relax.Var) else bound
        if op_name(value) == "where":  # the importer's guard against NaN
            value = value.args[2]
        if value is None or not is_constant(value):
            return None
        array = constant_array(value)
        return None if array.size != 1 or np.isnan(array).any() else float(array.reshape(()))


def _pad(x: Any, before: Any, after: Any, mode: str, value: Any = 0.0) -> Any:
    """A padding whose widths are numbers; None where one is negative (a crop) or its value is computed."""
    widths = [int(width) for pair in zip(before, after, strict=True) for width in pair]
    if min(widths, default=0) < 0 or not isinstance(value, int | float):
        return None
    return relax.op.nn.pad(x, widths, mode, float(value))
