"""Per-channel scale and shift: how batch norm, and constants beside it, fold into a convolution."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import relax

from tvm_fusion.passes.relax_tools import Array, constant, constant_array, dtype_of, is_constant, op_name, shape_of

CONVOLUTIONS = ("nn.conv1d", "nn.conv2d", "nn.conv3d")
TRANSPOSED = ("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")


@dataclass(frozen=True, slots=True)
class Affine:
    """``x * scale + shift`` along ``axis``; a scale or shift of None is 1 or 0."""

    x: Any
    axis: int
    scale: Array | None
    shift: Array | None

    def after(self, inner: Affine) -> Affine:
        """This affine map applied to the result of ``inner``."""
        scale = _times(inner.scale, self.scale)
        shift = _plus(_times(inner.shift, self.scale) if inner.shift is not None else None, self.shift)
        return Affine(inner.x, inner.axis, scale, shift)


def _times(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else np.asarray(a * b)


def _plus(a: Array | None, b: Array | None) -> Array | None:
    return b if a is None else a if b is None else np.asarray(a + b)


def batch_norm_affine(call: Any) -> Affine | None:
    """The affine map of an inference batch norm with constant statistics, in float64."""
    if op_name(call) != "nn.batch_norm" or bool(getattr(call.attrs, "training", False)):
        return None
    if not all(is_constant(arg) for arg in call.args[1:5]):
        return None
    gamma, beta, mean, variance = (constant_array(arg).astype(np.float64) for arg in call.args[1:5])
    scale = (gamma if bool(call.attrs.scale) else 1.0) / np.sqrt(variance + float(call.attrs.epsilon))
    shift = (beta if bool(call.attrs.center) else 0.0) - mean * scale
    return Affine(call.args[0], int(call.attrs.axis) % len(shape_of(call.args[0])), scale, shift)


def channel_affine(call: Any, axis: int) -> Affine | None:
    """``add``, ``subtract`` or ``multiply`` of a tensor and a per-channel constant along ``axis``."""
    name = op_name(call)
    if name not in ("add", "subtract", "multiply"):
        return None
    x, other = call.args
    if is_constant(x) and name != "subtract":
        x, other = other, x
    if is_constant(x) or not is_constant(other) or shape_of(x) != shape_of(call):
        return None
    vector = channel_vector(constant_array(other), shape_of(x), axis)
    if vector is None:
        return None
    vector = vector.astype(np.float64)
    if name == "multiply":
        return Affine(x, axis, vector, None)
    return Affine(x, axis, None, -vector if name == "subtract" else vector)


def channel_vector(value: Array, shape: tuple[int, ...], axis: int) -> Array | None:
    """``value`` as one number a channel, if it broadcasts along every other axis."""
    sizes = (1,) * (len(shape) - value.ndim) + value.shape
    if len(sizes) != len(shape) or any(size != 1 for i, size in enumerate(sizes) if i != axis):
        return None
    if sizes[axis] != shape[axis] and value.size != 1:
        return None
    return np.broadcast_to(value.reshape(-1), (shape[axis],))


def channel_axis(convolution: Any) -> int:
    """Axis of the channels in a convolution's result."""
    layout = str(convolution.attrs.out_layout) or str(convolution.attrs.data_layout)
    return layout.index("C")


def scaled_convolution(convolution: Any, scale: Array) -> Any:
    """The convolution with its constant weight multiplied by one number an output channel."""
    weight = constant_array(convolution.args[1])
    layout = str(convolution.attrs.kernel_layout)
    axis = layout.index("O")
    if op_name(convolution) in TRANSPOSED:
        groups, inner = int(convolution.attrs.groups), layout.index("I")
        split = weight.reshape(*weight.shape[:inner], groups, weight.shape[inner] // groups, *weight.shape[inner + 1 :])
        sizes = [1] * split.ndim
        sizes[inner], sizes[axis + (axis > inner)] = groups, weight.shape[axis]
        by_group = scale.reshape(groups, weight.shape[axis])
        factor = (by_group if axis > inner else by_group.T).reshape(sizes)
        product = (split * factor).reshape(weight.shape)
    else:
        sizes = [1] * weight.ndim
        sizes[axis] = weight.shape[axis]
        product = weight * scale.reshape(sizes)
    new_weight = constant(product.astype(weight.dtype))
    return relax.Call(convolution.op, [convolution.args[0], new_weight], convolution.attrs, convolution.ty_args)


def channel_constant(vector: Array, like: Any, axis: int) -> Any:
    """A per-channel vector as a constant that broadcasts against the tensor ``like``."""
    shape = [1] * len(shape_of(like))
    shape[axis] = math.prod(vector.shape)
    return constant(vector.astype(dtype_of(like)).reshape(shape))
