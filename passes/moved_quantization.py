"""Operators that move, repeat or compare elements: on quantised numbers they do what they do on real ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from tvm_fusion.passes.constant_folding import fold
from tvm_fusion.passes.quantized_values import Dequantized, Quantization, QuantizedConstant
from tvm_fusion.passes.relax_tools import Array, constant, op_name, variables

MOVING = (
    *("reshape", "permute_dims", "expand_dims", "squeeze", "flatten", "nn.batch_flatten", "broadcast_to", "tile"),
    *("strided_slice", "take", "repeat", "flip", "concat", "nn.pad", "nn.pixel_shuffle"),
    *("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d"),
)


def moved_constant(call: Any, source: QuantizedConstant) -> QuantizedConstant | None:
    """A constant moved together with its scales; None if it cannot be computed here."""
    if op_name(call) == "nn.pad":
        return None  # it would pad the scales with zeros
    parts: list[Array] = []
    for part in (source.values, source.scale, source.zero):
        given = relax.Call(call.op, [constant(np.asarray(part)), *call.args[1:]], call.attrs, call.ty_args)
        found = fold(relax.BlockBuilder().normalize(given))
        if found is None:
            return None
        parts.append(found)
    return QuantizedConstant(*parts)


def moved_tensor(call: Any, sources: list[Any], emit: Callable[..., Any]) -> Dequantized | None:
    """The call on 8-bit tensors that share one scale; None if these are none, or if it adds numbers of its own."""
    first = sources[0]
    if not isinstance(first, Dequantized) or any(variables(arg) for arg in call.args[1:]):
        return None
    if not all(isinstance(source, Dequantized) and source.by.same(first.by) for source in sources):
        return None
    narrow = [source.var for source in sources]
    if op_name(call) == "nn.pad":
        if str(call.attrs.pad_mode) == "constant" and float(call.attrs.pad_value):
            return None
        widths, zero = [int(width) for width in call.attrs.pad_width], float(first.by.zero)
        padded = relax.op.nn.pad(narrow[0], widths, str(call.attrs.pad_mode), zero)
        return _dequantized(emit(padded), first.by)
    operand = relax.Tuple(narrow) if op_name(call) == "concat" else narrow[0]
    moved = relax.Call(call.op, [operand, *call.args[1:]], call.attrs, call.ty_args)
    return _dequantized(emit(moved), first.by)


def _dequantized(var: Any, by: Quantization) -> Dequantized:
    return Dequantized(var, by, f"{var.name}_real")
