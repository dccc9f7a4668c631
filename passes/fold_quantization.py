"""FoldQuantization: operators between dequantize and quantize become operators on 8-bit tensors."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.affine import CONVOLUTIONS, TRANSPOSED
from tvm_fusion.passes.integer_operators import biased, integer_convolution, integer_matmul
from tvm_fusion.passes.main_writer import MainWriter
from tvm_fusion.passes.moved_quantization import MOVING, moved_constant, moved_tensor
from tvm_fusion.passes.quantized_values import (
    Accumulated,
    Dequantized,
    Quantization,
    QuantizedConstant,
    is_narrow,
    quantization_of,
    quantized_constant,
)
from tvm_fusion.passes.relax_tools import (
    bindings,
    constant,
    constant_array,
    dtype_of,
    is_constant,
    main_function,
    op_name,
    variables,
)

_LAZY = (Dequantized, QuantizedConstant, Accumulated)
_NO_ZERO = np.asarray(0, np.int32)


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.FoldQuantization")
class FoldQuantization:
    """:func:`fold_quantization` as a TVM pass."""

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The folded module; ``mod`` stays as it is."""
        return fold_quantization(mod)


def has_quantization(mod: IRModule) -> bool:
    """Whether ``main`` quantises or dequantises anything."""
    return any(op_name(b.value) in ("quantize", "dequantize") for b in bindings(main_function(mod)))


def fold_quantization(mod: IRModule) -> IRModule:
    """``mod`` with 8-bit tensors between its operators, wherever it dequantises and quantises around them.

    Convolutions and products of matrices subtract the zero point, add up in int32 with 8-bit weights and an int32 bias,
    and multiply the sum by one number (or one an output channel) before they round half to even, add the zero point
    and saturate. What only moves elements works on 8 bits. Anything else dequantises its own operands and quantises
    its own result; these bindings are one operator (see Clusters). A folded module stays as it is, a module without
    quantisation too. Results are those of exact sums: the float original's, but for its rounding, which may be worth a
    quantisation step. Raises FrontendError for control flow or dynamic shapes.
    """
    if not has_quantization(mod):
        return mod
    function = main_function(mod)
    folder = _Folder(function)
    for binding in bindings(function):
        folder.take(binding)
    main = folder.finish(function.body.body).with_attrs(dict(function.attrs or {})).with_attr("global_symbol", "main")
    result = IRModule({var: func for var, func in mod.functions.items() if var.name_hint != "main"}, attrs=mod.attrs)
    result["main"] = main
    return relax.transform.DeadCodeElimination(["main"])(result)


def _range(call: Any) -> tuple[float, float]:
    """What a relu or clip leaves of the real numbers."""
    if op_name(call) == "clip":
        return float(call.args[1].value), float(call.args[2].value)
    return 0.0, 6.0 if op_name(call) == "nn.relu6" else math.inf


class _Folder(MainWriter):
    """Re-emits a function's bindings; real numbers that only 8-bit tensors or sums stand for are written when read."""

    def __init__(self, function: Any) -> None:
        super().__init__(function)
        self.uses = Counter(var for binding in bindings(function) for var in variables(binding.value))
        self.uses.update(variables(function.body.body))

    def finish(self, body: Any) -> Any:
        """Close the function with the (substituted) value that it returns."""
        return self.close(self._real(body, "result", {}))

    def take(self, binding: Any) -> None:
        """Rewrite one binding and remember what stands for its variable."""
        var, value = binding.var, binding.value
        if isinstance(binding, relax.MatchCast) or isinstance(value, relax.Var):
            self.values[var] = self.values.get(value, value)
            return
        found = self._call(var, value) if isinstance(value, relax.Call) else None
        if found is None:
            found = self._real(value, var.name, {})
            if not isinstance(found, relax.Var | relax.ShapeExpr) and not is_constant(found):
                found = self._emit(found, var.name)
        if isinstance(found, Accumulated) and self.uses[var] != 1:
            found = self._written(found, var.name)  # sums never pass from one operator to others
        self.values[var] = found

    def _emit(self, value: Any, name: str) -> Any:
        return self.builder.emit(value, name_hint=name)

    def _call(self, var: Any, call: Any) -> Any:
        """What a call means on quantised operands; None if it works on real numbers."""
        name = op_name(call)
        operands = [self.values.get(arg, arg) if isinstance(arg, relax.Var) else arg for arg in call.args]
        if name == "dequantize":
            return self._dequantized(var, call, operands[0])
        if name == "quantize":
            return self._quantized(var, call, operands[0])
        if name in (*CONVOLUTIONS, *TRANSPOSED):
            return integer_convolution(call, operands[0], operands[1], self._named(var))
        if name == "matmul":
            return integer_matmul(call, operands[0], operands[1], self._named(var))
        if name in ("add", "subtract") and any(isinstance(operand, Accumulated) for operand in operands):
            return biased(call, operands, self._named(var))
        if name in ("nn.relu", "nn.relu6", "clip") and isinstance(operands[0], Accumulated):
            return operands[0].bounded(*_range(call))
        if name in MOVING:
            if isinstance(operands[0], QuantizedConstant):
                return moved_constant(call, operands[0])
            fields = getattr(operands[0], "fields", None)
            sources = [self.values.get(f, f) for f in fields] if fields is not None else operands[:1]
            return moved_tensor(call, sources, self._named(var))
        return None

    def _named(self, var: Any) -> Any:
        return lambda value, part="": self._emit(value, f"{var.name}_{part}" if part else var.name)

    def _dequantized(self, var: Any, call: Any, source: Any) -> Any:
        by = quantization_of(call)
        if by is None or dtype_of(call) != "float32":
            return None
        if is_constant(source):
            return quantized_constant(constant_array(source), by)
        return Dequantized(source, by, var.name) if isinstance(source, relax.Var) and is_narrow(source) else None

    def _quantized(self, var: Any, call: Any, source: Any) -> Any:
        by = quantization_of(call)
        if by is None or not by.uniform:
            return None
        if isinstance(source, Dequantized) and source.by.same(by):
            return source.var
        if isinstance(source, QuantizedConstant):
            info = np.iinfo(by.zero.dtype)
            whole = np.round(source.real / by.scale) + by.zero.astype(np.float32)
            return constant(np.clip(whole, info.min, info.max).astype(by.zero.dtype))
        if not isinstance(source, Accumulated):
            return None
        # In steps of the result: one factor for both scales, as the integer operators of ONNX runtimes have it.
        factor, one = np.asarray(source.scale / by.scale, np.float32), float(by.scale)
        steps = Accumulated(source.var, factor, source.axis, source.low / one, source.high / one)
        step = Quantization(np.asarray(1, np.float32), by.zero)
        axis, dtype = int(call.attrs.axis), str(by.zero.dtype)
        real = self._written(steps, f"{var.name}_steps")
        return self._emit(relax.op.quantize(real, *step.arguments(), axis=axis, out_dtype=dtype), var.name)

    def _written(self, value: Any, name: str) -> Any:
        """The real numbers of a value as a variable (or constant) of this function."""
        if isinstance(value, QuantizedConstant):
            return constant(value.real)
        if isinstance(value, Dequantized):
            read = relax.op.dequantize(value.var, *value.by.arguments(), axis=value.by.axis)
            return self._emit(read, value.name)
        scale = Quantization(value.scale, _NO_ZERO)
        real = self._emit(relax.op.dequantize(value.var, *scale.arguments(), axis=value.axis), name)
        if value.low == -math.inf and value.high == math.inf:
            return real
        if (value.low, value.high) == (0.0, math.inf):
            return self._emit(relax.op.nn.relu(real), f"{name}_relu")
        largest = float(np.finfo(np.float32).max)
        return self._emit(relax.op.clip(real, max(value.low, -largest), min(value.high, largest)), f"{name}_clip")

    def _real(self, expr: Any, name: str, seen: dict[Any, Any]) -> Any:
        """``expr`` on this function's variables; ``seen`` are those that it has read already."""
        if isinstance(expr, relax.Var):
            value = self.values.get(expr, expr)
            if isinstance(value, _LAZY):
                if expr not in seen:
                    seen[expr] = self._written(value, name)
                return seen[expr]
            return value
        if isinstance(expr, relax.Call):
            args = [self._real(arg, name, seen) for arg in expr.args]
            return relax.Call(expr.op, args, expr.attrs, expr.ty_args)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._real(part, name, seen) for part in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            return relax.TupleGetItem(self._real(expr.tuple_value, name, seen), expr.index)
        return expr
