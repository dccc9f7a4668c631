"""What elementwise Relax operators compute, in NumPy: for folding constants and naming activations."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from tvm_fusion.passes.relax_tools import Array, op_name

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def _gelu(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + _erf(x / math.sqrt(2))))


def _gelu_tanh(x: Array) -> Array:
    return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))


def _softplus(x: Array) -> Array:
    return np.logaddexp(x, 0)


def _selu(x: Array) -> Array:
    return np.asarray(_SELU_SCALE * np.where(x > 0, x, _SELU_ALPHA * np.expm1(np.minimum(x, 0))))


def _hard_sigmoid(x: Array) -> Array:
    return np.clip(x / 6 + 0.5, 0, 1)


UNARY: dict[str, Callable[[Array], Array]] = {
    "nn.relu": lambda x: np.maximum(x, 0),
    "nn.relu6": lambda x: np.clip(x, 0, 6),
    "nn.gelu": _gelu,
    "nn.gelu_tanh": _gelu_tanh,
    "nn.selu": _selu,
    "nn.silu": lambda x: np.asarray(x * _sigmoid(x)),
    "sigmoid": _sigmoid,
    "tanh": np.tanh,
    "exp": np.exp,
    "log": np.log,
    "sqrt": np.sqrt,
    "rsqrt": lambda x: np.asarray(1 / np.sqrt(x)),
    "square": np.square,
    "abs": np.abs,
    "negative": np.negative,
    "erf": _erf,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sign": np.sign,
    "floor": np.floor,
    "ceil": np.ceil,
    "round": np.round,
    "trunc": np.trunc,
    "logical_not": np.logical_not,
    "bitwise_not": np.invert,
    "isnan": np.isnan,
    "isinf": np.isinf,
    "isfinite": np.isfinite,
}
BINARY: dict[str, Callable[[Array, Array], Array]] = {
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
    "divide": np.true_divide,
    "floor_divide": np.floor_divide,
    "mod": np.mod,
    "floor_mod": np.mod,
    "power": np.power,
    "maximum": np.maximum,
    "minimum": np.minimum,
    "equal": np.equal,
    "not_equal": np.not_equal,
    "greater": np.greater,
    "greater_equal": np.greater_equal,
    "less": np.less,
    "less_equal": np.less_equal,
    "logical_and": np.logical_and,
    "logical_or": np.logical_or,
    "logical_xor": np.logical_xor,
    "bitwise_and": np.bitwise_and,
    "bitwise_or": np.bitwise_or,
    "bitwise_xor": np.bitwise_xor,
    "left_shift": np.left_shift,
    "right_shift": np.right_shift,
    "atan2": np.arctan2,
    "log_add_exp": np.logaddexp,
}
# Elementwise as well, but with operands or attributes of their own.
QUANTIZING = ("quantize", "dequantize")
OTHER = (
    *("clip", "where", "astype", "nn.leakyrelu", "nn.prelu", "nn.softplus", "identity", "hint_on_device"),
    *QUANTIZING,
)

# Functions of one variable that a cluster of operators may turn out to be, by the field's name.
KNOWN: dict[str, Callable[[Array], Array]] = {
    "silu": UNARY["nn.silu"],
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "quick_gelu": lambda x: np.asarray(x * _sigmoid(1.702 * x)),
    "hard_sigmoid": _hard_sigmoid,
    "hard_swish": lambda x: np.asarray(x * _hard_sigmoid(x)),
    "mish": lambda x: np.asarray(x * np.tanh(_softplus(x))),
    "softplus": _softplus,
    "relu": UNARY["nn.relu"],
    "relu6": UNARY["nn.relu6"],
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "selu": _selu,
    "sigmoid": _sigmoid,
}


def is_elementwise(call: Any) -> bool:
    """Whether a call computes every output element from the same element of its operands."""
    name = op_name(call)
    return name in UNARY or name in BINARY or name in OTHER


def _scalar(expr: Any) -> float:
    return float(expr.value)


def evaluate(call: Any, operands: list[Array]) -> Array | None:
    """The call on arrays for its tensor arguments (scalars of ``clip`` are its own), or None if unknown."""
    name = op_name(call)
    with np.errstate(all="ignore"):
        if name in UNARY:
            return UNARY[name](operands[0])
        if name in BINARY:
            return BINARY[name](operands[0], operands[1])
        if name == "where":
            return np.where(operands[0], operands[1], operands[2])
        if name == "clip":
            low, high = (_scalar(arg) for arg in call.args[1:3])
            return np.clip(operands[0], low, high)
        if name == "astype":
            return operands[0].astype(str(call.attrs.dtype))
        if name == "nn.leakyrelu":
            return np.where(operands[0] > 0, operands[0], float(call.attrs.alpha) * operands[0])
        if name == "nn.softplus":
            return _softplus(operands[0])
    return None
