"""Values of Relax calls whose arguments are all constants, in NumPy; TVM itself computes the rare rest."""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax

from tvm_fusion.passes.elementwise import QUANTIZING, evaluate, is_elementwise
from tvm_fusion.passes.relax_tools import Array, constant_array, dtype_of, ints, is_constant, op_name, shape_of

# Uniform tensors whose shape alone is data: kept as a scalar where an elementwise consumer broadcasts it.
SPLATS = ("full", "full_like", "zeros", "zeros_like", "ones", "ones_like")
# Impure ones, and quantised constants: fold_quantization reads them.
_KEPT = ("multinomial_from_uniform", "print", "assert_op", "nn.dropout", *QUANTIZING)
_LARGEST_FOLDED_BY_TVM = 1 << 26


def splat_value(call: Any) -> float | None:
    """The one value of a ``full``-like call whose fill value is known, else None."""
    name = op_name(call)
    if name not in SPLATS:
        return None
    if name.startswith("full"):
        fill = call.args[1]
        return float(constant_array(fill)) if is_constant(fill) and constant_array(fill).size == 1 else None
    return float(name.startswith("ones"))


def fold(call: Any) -> Array | None:
    """The value of ``call`` (its type known) if every tensor argument is constant, else None."""
    name = op_name(call)
    if not name or name.startswith("call") or name in _KEPT or isinstance(call.ty, relax.TupleType):
        return None
    splat = splat_value(call)
    if splat is not None:
        return np.full(shape_of(call), splat, dtype_of(call))
    if name == "shape_to_tensor" and isinstance(call.args[0], relax.ShapeExpr):
        return np.asarray([int(size) for size in call.args[0].values], np.int64)
    if not all(_is_data(arg) for arg in call.args):
        return None
    arrays = [constant_array(arg) for arg in call.args if is_constant(arg)]
    value = evaluate(call, arrays) if is_elementwise(call) and arrays else _structural(name, call, arrays)
    if value is None:
        return _fold_with_tvm(call)
    return np.asarray(value, dtype=dtype_of(call)).reshape(shape_of(call))


def _is_data(arg: Any) -> bool:
    if isinstance(arg, relax.Tuple):
        return all(_is_data(field) for field in arg.fields)
    return is_constant(arg) or not isinstance(arg, relax.Var | relax.Call | relax.TupleGetItem)


def _structural(name: str, call: Any, arrays: list[Array]) -> Array | None:
    """Operators that only move or repeat elements."""
    if name in ("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten"):
        return arrays[0].reshape(shape_of(call))
    if name == "permute_dims":
        axes = call.attrs.axes
        return np.transpose(arrays[0], None if axes is None else ints(axes))
    if name == "broadcast_to":
        return np.broadcast_to(arrays[0], shape_of(call))
    if name == "concat" and isinstance(call.args[0], relax.Tuple):
        axis = call.attrs.axis
        return np.concatenate([constant_array(f) for f in call.args[0].fields], 0 if axis is None else int(axis))
    if name == "strided_slice" and not bool(call.attrs.assume_inbound):
        return _sliced(call, arrays[0])
    return None


def _sliced(call: Any, array: Array) -> Array | None:
    """A constant cut by begin, end and stride along some axes; None where NumPy's answer has another shape."""
    cuts = [slice(None)] * array.ndim
    places, begins, ends, *steps = ([int(field.value) for field in arg.fields] for arg in call.args[1:])
    for place, begin, end, step in zip(places, begins, ends, steps[0] if steps else [1] * len(places), strict=True):
        cuts[place] = slice(begin, end, step)
    found = np.asarray(array[tuple(cuts)])
    return found if found.shape == shape_of(call) else None


def _fold_with_tvm(call: Any) -> Array | None:
    """Compile and run the one call; None if TVM cannot, or if it would be large."""
    if int(np.prod(shape_of(call), dtype=np.int64)) > _LARGEST_FOLDED_BY_TVM:
        return None
    builder = relax.BlockBuilder()
    try:
        with builder.function("main", []):
            with builder.dataflow():
                result = builder.emit_output(call)
            builder.emit_func_output(result)
        executable = tvm.compile(builder.finalize(), "llvm")
        machine = relax.VirtualMachine(executable, tvm.cpu())
        return np.asarray(machine["main"]().numpy())
    except Exception:  # TVM raises many kinds; an unfolded operator is merely one that executes
        return None
