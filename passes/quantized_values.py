"""What a variable of a quantised network stands for: 8-bit tensors, quantised constants, sums of products."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tvm_fusion.passes.relax_tools import Array, constant, constant_array, dtype_of, is_constant, shape_of

NARROW = ("int8", "uint8")


@dataclass(frozen=True)
class Quantization:
    """real = (quantised - zero) * scale; both are one number (shape ()) or one for each index along ``axis``."""

    scale: Array
    zero: Array
    axis: int = 0

    @property
    def uniform(self) -> bool:
        """Whether one scale and zero point hold for the whole tensor."""
        return not self.scale.ndim and not self.zero.ndim

    def same(self, other: Quantization) -> bool:
        """Whether both are uniform and equal, dtype of the quantised numbers included."""
        equal = self.uniform and other.uniform and self.zero.dtype == other.zero.dtype
        return equal and bool(self.scale == other.scale and self.zero == other.zero)

    def arguments(self) -> list[Any]:
        """Scale and zero point as ``relax.op.quantize`` and ``dequantize`` take them."""
        return [constant(self.scale), constant(self.zero)]


def quantization_of(call: Any) -> Quantization | None:
    """The constants of a ``quantize`` or ``dequantize`` call; None if they are computed or of another kind."""
    if not all(is_constant(arg) for arg in call.args[1:]):
        return None
    scale, zero = (constant_array(arg) for arg in call.args[1:])
    if scale.dtype != np.float32 or zero.dtype.kind not in "iu":
        return None
    scale, zero = (array.reshape(() if array.size == 1 else -1) for array in (scale, zero))
    rank = len(shape_of(call.args[0]))
    return Quantization(scale, zero, int(call.attrs.axis) % rank if rank else 0)


@dataclass(frozen=True)
class Dequantized:
    """The real numbers that ``var``, a tensor of 8 bits, stands for, under the name that they have or would have."""

    var: Any
    by: Quantization
    name: str


@dataclass(frozen=True)
class QuantizedConstant:
    """A constant of whole numbers, with a scale and zero point for each (arrays of its shape, maybe broadcast)."""

    values: Array
    scale: Array
    zero: Array

    @property
    def real(self) -> Array:
        """Its float32 numbers."""
        centred = self.values.astype(np.int32) - self.zero.astype(np.int32)
        return np.asarray(centred.astype(np.float32) * self.scale)

    def centred(self) -> Array:
        """Whole numbers less their zero points, in the narrowest dtype that holds them."""
        found = self.values.astype(np.int64) - self.zero.astype(np.int64)
        least, most = (int(found.min()), int(found.max())) if found.size else (0, 0)
        fits = (np.iinfo(dtype).min <= least and most <= np.iinfo(dtype).max for dtype in (np.int8, np.int16))
        return found.astype(np.int8 if next(fits) else np.int16 if next(fits) else np.int32)

    def scale_along(self, axis: int) -> Array | None:
        """The scale if it is one number (shape ()) or depends on the index along ``axis`` alone, else None."""
        columns = np.moveaxis(self.scale, axis, 0).reshape(self.scale.shape[axis], -1)
        if not (columns == columns[:, :1]).all():
            return None
        vector = columns[:, 0]
        return np.asarray(vector[0] if (vector == vector[0]).all() else vector, np.float32)


def quantized_constant(array: Array, by: Quantization) -> QuantizedConstant:
    """A constant as ``dequantize`` reads it."""
    shape = [1] * array.ndim
    if not by.uniform:
        shape[by.axis] = array.shape[by.axis]
    scale, zero = (
        np.broadcast_to(part.reshape(shape) if part.ndim else part, array.shape) for part in (by.scale, by.zero)
    )
    return QuantizedConstant(array, scale, zero)


@dataclass(frozen=True)
class Accumulated:
    """``var``, int32 sums of products, times ``scale`` (one number, or one for each index along ``axis``), between
    ``low`` and ``high``."""

    var: Any
    scale: Array
    axis: int
    low: float = -math.inf
    high: float = math.inf

    def bounded(self, low: float, high: float) -> Accumulated:
        """The sums with a relu or clip after them."""
        return replace(self, low=max(low, min(self.low, high)), high=min(high, max(self.high, low)))


def is_narrow(expr: Any) -> bool:
    """Whether a tensor expression is of 8 bits."""
    return dtype_of(expr) in NARROW
