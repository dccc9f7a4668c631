"""Convolutions and products of quantised operands: 8-bit factors, int32 sums, an int32 bias."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from tvm import relax

from tvm_fusion.passes.affine import TRANSPOSED, channel_axis, channel_constant, channel_vector
from tvm_fusion.passes.quantized_values import Accumulated, Dequantized, QuantizedConstant
from tvm_fusion.passes.relax_tools import constant, constant_array, ints, is_constant, op_name, shape_of

# Binds an expression to a variable; a second argument tells it from others of the same operator.
Emit = Callable[..., Any]
WIDE = "int32"


def integer_convolution(call: Any, x: Any, weight: Any, emit: Emit) -> Accumulated | None:
    """The convolution of a uniformly quantised tensor and a constant; None if its operands are of another kind.

    The zero point is subtracted before the convolution, so that its padding of zeros stands for real zeros.
    """
    if not (isinstance(x, Dequantized) and x.by.uniform and isinstance(weight, QuantizedConstant)):
        return None
    layout = str(call.attrs.kernel_layout)
    transposed = op_name(call) in TRANSPOSED
    scale = weight.scale_along(layout.index("O"))
    if scale is None or (transposed and scale.ndim and int(call.attrs.groups) > 1):
        return None
    options = {
        name: ints(getattr(call.attrs, name))
        for name in ("strides", "padding", "dilation", "output_padding")[: 3 + transposed]
    }
    operator = getattr(relax.op.nn, op_name(call).removeprefix("nn."))
    product = operator(
        _wide(x, emit, "centred"),
        constant(weight.centred()),
        **options,
        groups=int(call.attrs.groups),
        data_layout=str(call.attrs.data_layout),
        kernel_layout=layout,
        out_layout=str(call.attrs.out_layout),
        out_dtype=WIDE,
    )
    return Accumulated(emit(product, "sums"), np.asarray(x.by.scale * scale, np.float32), channel_axis(call))


def integer_matmul(call: Any, left: Any, right: Any, emit: Emit) -> Accumulated | None:
    """The product of two quantised matrices, of which one may be constant; None for operands of another kind."""
    ranks = [len(shape_of(arg)) for arg in call.args]
    if min(ranks) < 2 or not any(isinstance(operand, Dequantized) for operand in (left, right)):
        return None
    factors, scale = [], np.asarray(1, np.float32)
    for name, operand, rank in (("left", left, ranks[0]), ("right", right, ranks[1])):
        if isinstance(operand, QuantizedConstant):
            own = operand.scale_along(rank - 1)
            if own is None or (own.ndim and name == "left"):
                return None
            factor = constant(operand.centred())
        elif isinstance(operand, Dequantized) and operand.by.uniform:
            own, factor = operand.by.scale, None
        else:
            return None
        factors.append((name, operand, factor))
        scale = np.asarray(scale * own, np.float32)
    wide = [_wide(operand, emit, name) if factor is None else factor for name, operand, factor in factors]
    return Accumulated(emit(relax.op.matmul(*wide, out_dtype=WIDE), "sums"), scale, len(shape_of(call)) - 1)


def _wide(x: Dequantized, emit: Emit, name: str) -> Any:
    """A tensor of 8 bits less its zero point, in int32."""
    wide = relax.op.astype(x.var, WIDE)
    if not int(x.by.zero):
        return emit(wide, name)
    return emit(relax.op.subtract(emit(wide, f"{name}_wide"), constant(x.by.zero.astype(WIDE))), name)


def biased(call: Any, operands: list[Any], emit: Emit) -> Accumulated | None:
    """Sums with one constant an output channel added (or subtracted), rounded to whole sums; None for any other."""
    place = next(k for k, operand in enumerate(operands) if isinstance(operand, Accumulated))
    sums, bias = operands[place], operands[1 - place]
    bounded = np.isfinite(sums.low) or np.isfinite(sums.high)
    if bounded or (op_name(call) == "subtract" and place) or shape_of(call) != shape_of(sums.var):
        return None
    real = bias.real if isinstance(bias, QuantizedConstant) else constant_array(bias) if is_constant(bias) else None
    vector = None if real is None else channel_vector(real, shape_of(call), sums.axis)
    if vector is None:
        return None
    whole = np.round(vector.astype(np.float64) / sums.scale.astype(np.float64))
    if (np.abs(whole) > np.iinfo(np.int32).max // 2).any():
        return None
    whole = whole if op_name(call) == "add" else -whole
    if np.ndim(whole) == 0:
        whole = np.broadcast_to(whole, (shape_of(call)[sums.axis],))
    added = emit(relax.op.add(sums.var, channel_constant(whole, sums.var, sums.axis)), "biased")
    return Accumulated(added, sums.scale, sums.axis)
