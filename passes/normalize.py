"""Normalize: batch norm folded into convolutions, constants folded, views of nothing removed."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.affine import (
    CONVOLUTIONS,
    TRANSPOSED,
    Affine,
    batch_norm_affine,
    channel_affine,
    channel_axis,
    channel_constant,
    scaled_convolution,
)
from tvm_fusion.passes.constant_folding import fold, splat_value
from tvm_fusion.passes.elementwise import is_elementwise
from tvm_fusion.passes.fold_quantization import fold_quantization
from tvm_fusion.passes.main_writer import MainWriter
from tvm_fusion.passes.relax_tools import (
    bindings,
    constant,
    constant_array,
    dtype_of,
    ints,
    is_constant,
    main_function,
    op_name,
    shape_of,
    variables,
)


def normalize(mod: IRModule) -> IRModule:
    """``mod`` with a main of one dataflow block, no batch norm after a convolution, no constant work.

    Quantisation is folded into the operators that it stands around (see :func:`fold_quantization`). Results are
    unchanged but for rounding. Raises FrontendError for control flow or dynamic shapes.
    """
    plain = _normalized(mod)
    folded = fold_quantization(plain)
    return plain if folded is plain else _normalized(folded)


def _normalized(mod: IRModule) -> IRModule:
    function = main_function(mod)
    writer = _Writer(function)
    for binding in bindings(function):
        writer.take(binding)
    new_main = writer.finish(function.body.body).with_attr("global_symbol", "main")
    result = IRModule({var: func for var, func in mod.functions.items() if var.name_hint != "main"})
    result["main"] = new_main
    return relax.transform.DeadCodeElimination(["main"])(result)


class _Writer(MainWriter):
    """Re-emits a function's bindings, rewritten."""

    def __init__(self, function: Any) -> None:
        for param in function.params:
            shape_of(param)  # refuses a dynamic one
        super().__init__(function)
        read = [binding.value for binding in bindings(function) if op_name(binding.value) != "shape_of"]
        self.uses = Counter(var for value in read for var in variables(value))
        self.uses.update(variables(function.body.body))
        self.definitions: dict[Any, Any] = {}
        self.used_once: set[Any] = set()
        self.splats: dict[Any, float] = {}
        self._affine_axes: dict[Any, int] = {}

    def finish(self, body: Any) -> Any:
        """Close the function with the (substituted) value that it returns."""
        return self.close(self._substitute(body, binding=False))

    def take(self, binding: Any) -> None:
        """Rewrite one binding and remember what stands for its variable."""
        if isinstance(binding, relax.MatchCast):
            self.values[binding.var] = self._substitute(binding.value)
            return
        value = self._rewrite(self._substitute(binding.value), binding.var)
        if isinstance(value, relax.Var | relax.Tuple | relax.ShapeExpr) or is_constant(value):
            self.values[binding.var] = value
            if isinstance(value, relax.Var) and (self.uses[binding.var] > 1 or value not in self.definitions):
                self.used_once.discard(value)
            return
        self.values[binding.var] = self.emit(value, binding.var.name, self.uses[binding.var] == 1)

    def emit(self, value: Any, name: str, used_once: bool) -> Any:
        """Bind a new variable; ``used_once`` allows a consumer to fold the value into itself."""
        var = self.builder.emit(value, name_hint=name)
        self.definitions[var] = value
        if used_once:
            self.used_once.add(var)
        return var

    def _substitute(self, expr: Any, binding: bool = True) -> Any:
        if isinstance(expr, relax.Var):
            if expr in self.splats and binding:
                return self._splat(expr)
            return self.values.get(expr, expr)
        if isinstance(expr, relax.Call):
            args = [self._substitute(arg) for arg in expr.args]
            new = relax.Call(expr.op, args, expr.attrs, expr.ty_args)
            return self._with_scalars(new, expr)
        if isinstance(expr, relax.Tuple):
            return relax.Tuple([self._substitute(field) for field in expr.fields])
        if isinstance(expr, relax.TupleGetItem):
            source = self._substitute(expr.tuple_value)
            return (
                source.fields[expr.index] if isinstance(source, relax.Tuple) else relax.TupleGetItem(source, expr.index)
            )
        return expr

    def _splat(self, var: Any) -> Any:
        return constant(np.full(shape_of(var), self.splats[var], dtype_of(var)))

    def _with_scalars(self, call: Any, old: Any) -> Any:
        """Replace uniform tensors by scalars where the shape of an elementwise result allows it."""
        if not (is_elementwise(old) and any(arg in self.splats for arg in old.args if isinstance(arg, relax.Var))):
            return call
        scalars = [
            constant(np.asarray(self.splats[arg], dtype_of(arg)))
            if isinstance(arg, relax.Var) and arg in self.splats
            else None
            for arg in old.args
        ]
        args = [new if scalar is None else scalar for new, scalar in zip(call.args, scalars, strict=True)]
        candidate = self.builder.normalize(relax.Call(call.op, args, call.attrs, call.ty_args))
        return candidate if shape_of(candidate) == shape_of(old) else call

    def _rewrite(self, value: Any, var: Any) -> Any:
        if isinstance(value, relax.TupleGetItem):
            return self._item(value)
        if not isinstance(value, relax.Call):
            return value
        value = self.builder.normalize(value)
        splat = splat_value(value)
        if splat is not None:
            self.splats[var] = splat
        if op_name(value) == "concat" and len(getattr(value.args[0], "fields", ())) == 1:
            return value.args[0].fields[0]
        if op_name(value) == "shape_of":
            return relax.ShapeExpr(shape_of(value.args[0]))
        folded = fold(value)
        if folded is not None:
            return constant(folded)
        if _is_identity(value):
            return value.args[0]
        if op_name(value) == "split":
            return self._split(value, var.name)
        if op_name(value) == "nn.dropout":
            return relax.Tuple([value.args[0], value.args[0]])
        if op_name(value) == "clip":
            return self._clip(value)
        if op_name(value) == "sum":
            return self._sum_of_stack(value)
        return self._affine(value, var)

    def _item(self, value: Any) -> Any:
        source = self.definitions.get(value.tuple_value)
        affine = batch_norm_affine(source) if source is not None and value.index == 0 else None
        return value if affine is None else self._fold_affine(affine, value.tuple_value.name, True)

    def _split(self, call: Any, name: str) -> Any:
        """Pieces of a split as slices of their own, so that each is one operator."""
        source, axis = call.args[0], int(call.attrs.axis)
        shape = shape_of(source)
        axis %= len(shape)
        cuts, start, pieces = [shape_of(self._piece(call, k))[axis] for k in range(len(call.ty.fields))], 0, []
        for k, size in enumerate(cuts):
            piece = self.builder.normalize(relax.op.strided_slice(source, [axis], [start], [start + size], [1]))
            folded = fold(piece)
            pieces.append(constant(folded) if folded is not None else self.emit(piece, f"{name}_{k}", False))
            start += size
        return relax.Tuple(pieces)

    def _piece(self, call: Any, k: int) -> Any:
        return relax.Var("piece", call.ty.fields[k])

    def _clip(self, call: Any) -> Any:
        """One clip for two in a row."""
        inner: Any = self.definitions.get(call.args[0])
        if op_name(inner) != "clip" or call.args[0] not in self.used_once:
            return call
        low = max((clip.args[1] for clip in (inner, call)), key=lambda bound: float(bound.value))
        high = min((clip.args[2] for clip in (inner, call)), key=lambda bound: float(bound.value))
        if float(low.value) > float(high.value):
            return call
        return self.builder.normalize(relax.Call(call.op, [inner.args[0], low, high], call.attrs, call.ty_args))

    def _sum_of_stack(self, call: Any) -> Any:
        """Additions for ONNX's n-ary Sum, which is imported as the sum over a stack."""
        stack: Any = self.definitions.get(call.args[0])
        if op_name(stack) != "stack" or bool(call.attrs.keepdims) or call.attrs.axis is None:
            return call
        axes, axis = ints(call.attrs.axis), int(stack.attrs.axis)
        fields: Any = getattr(stack.args[0], "fields", ())
        if len(axes) != 1 or len(fields) < 2 or (axes[0] - axis) % len(shape_of(call.args[0])):
            return call
        total = fields[0]
        for field in fields[1:-1]:
            total = self.emit(relax.op.add(total, field), "partial_sum", True)
        return self.builder.normalize(relax.op.add(total, fields[-1]))

    def _affine(self, call: Any, var: Any) -> Any:
        """A per-channel constant after a convolution or another such constant joins it."""
        for operand in call.args[:2] if op_name(call) in ("add", "subtract", "multiply") else ():
            axis = self._axis(operand)
            affine = None if axis is None else channel_affine(call, axis)
            if affine is not None and affine.x.same_as(operand):
                plain = affine.scale is None and op_name(self.definitions.get(operand)) in CONVOLUTIONS + TRANSPOSED
                if not plain:
                    return self._fold_affine(affine, var.name, self.uses[var] == 1)
                biased = self.emit(call, var.name, self.uses[var] == 1)
                self._affine_axes[biased] = affine.axis
                return biased
        return call

    def _axis(self, operand: Any) -> int | None:
        """Channel axis of a value that a per-channel constant could join, else None."""
        if operand not in self.used_once:
            return None
        value = self.definitions[operand]
        if op_name(value) in CONVOLUTIONS + TRANSPOSED:
            return _foldable_axis(value)
        return self._affine_axes.get(operand)

    def _fold_affine(self, affine: Affine, name: str, used_once: bool) -> Any:
        """Emit an affine map, joined with what its operand already is. Returns the new variable."""
        inner = self._inner(affine)
        while inner is not None:
            affine = affine.after(inner)
            inner = self._inner(affine)
        source = self.definitions.get(affine.x)
        if affine.x in self.used_once and affine.axis == _foldable_axis(source):
            if affine.scale is not None:
                source = scaled_convolution(source, affine.scale)
                affine = Affine(self.emit(source, f"{name}_folded", True), affine.axis, None, affine.shift)
            if affine.shift is None:
                return affine.x
        return self._emit_affine(affine, name, used_once)

    def _inner(self, affine: Affine) -> Affine | None:
        if affine.x not in self.used_once:
            return None
        return channel_affine(self.definitions[affine.x], affine.axis)

    def _emit_affine(self, affine: Affine, name: str, used_once: bool) -> Any:
        result = affine.x
        if affine.scale is not None:
            factor = channel_constant(affine.scale, affine.x, affine.axis)
            result = self.emit(
                relax.op.multiply(result, factor), f"{name}_scale", affine.shift is not None or used_once
            )
            self._affine_axes[result] = affine.axis
        if affine.shift is not None:
            term = channel_constant(affine.shift, affine.x, affine.axis)
            result = self.emit(relax.op.add(result, term), name, used_once)
            self._affine_axes[result] = affine.axis
        return result


def _foldable_axis(convolution: Any) -> int | None:
    """Channel axis of a convolution whose weight is constant, so that a scale can join it; else None."""
    if op_name(convolution) not in CONVOLUTIONS + TRANSPOSED or not is_constant(convolution.args[1]):
        return None
    return channel_axis(convolution)


def _is_identity(call: Any) -> bool:
    name = op_name(call)
    if name in ("identity", "builtin.stop_lift_params", "hint_on_device"):
        return True
    if name in ("reshape", "broadcast_to", "expand_dims", "squeeze", "flatten", "tile", "nn.batch_flatten"):
        return shape_of(call) == shape_of(call.args[0])
    if name == "astype":
        return dtype_of(call) == dtype_of(call.args[0])
    if name == "permute_dims" and call.attrs.axes is not None:
        return ints(call.attrs.axes) == tuple(range(len(shape_of(call))))
    if name == "nn.pad":
        return not any(ints(call.attrs.pad_width))
    if name in ("multiply", "divide") and is_constant(call.args[1]):
        value = constant_array(call.args[1])
        return value.size == 1 and float(value.reshape(())) == 1.0 and shape_of(call) == shape_of(call.args[0])
    return False


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.Normalize")
class Normalize:
    """:func:`normalize` as a TVM pass."""

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The normalised module; ``mod`` stays as it is."""
        return normalize(mod)
