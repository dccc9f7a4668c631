"""CExpressions: expressions of TIR as text that is C99, and CUDA C++ as well."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from tvm.ir.expr import Call, TensorLoad, Var
from tvm.ir.prim import expr as prim

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.lowering.expressions import as_int

C_TYPES = {
    "bool": "bool",
    **{f"{sign}int{bits}": f"{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "float",
    "float64": "double",
}
_BINARY = {
    "Add": "+", "Sub": "-", "Mul": "*", "Div": "/", "Mod": "%", "LT": "<", "LE": "<=", "GT": ">", "GE": ">=",
    "EQ": "==", "NE": "!=", "And": "&&", "Or": "||", "BitwiseAnd": "&", "BitwiseOr": "|", "BitwiseXor": "^",
    "LShift": "<<", "RShift": ">>",
}  # fmt: skip
_SUMS = ("Add", "Sub")
_COMPARED = ("LT", "LE", "GT", "GE", "EQ", "NE")
_BARE_INSIDE = {"Add": (*_SUMS, "Mul"), "Sub": (*_SUMS, "Mul"), "And": ("And", *_COMPARED), "Or": ("Or", *_COMPARED)}
_BARE_INSIDE |= dict.fromkeys(_COMPARED, (*_SUMS, "Mul"))
# Results of these leave the range of a narrow type, and C computes them as int.
_WRAPPING = ("Add", "Sub", "Mul", "LShift", "BitwiseNot")
_NARROW = ("int8", "int16", "uint8", "uint16")
_SAME_NAME = (
    "acos acosh asin asinh atan atan2 atanh ceil copysign cos cosh erf exp exp2 floor fma fmod hypot log log10 log1p "
    "log2 nextafter pow sin sinh sqrt tan tanh trunc"
)
# TVM rounds halves to even, as C's rint does.
_MATH = {name: name for name in _SAME_NAME.split()} | {"fabs": "fabs", "round": "rint", "nearbyint": "rint"}
# Of (name, C type): what C has no operator or function for.
_HELPERS = {
    "max": "{t} {f}({t} a, {t} b) {{ return a > b ? a : b; }}",
    "min": "{t} {f}({t} a, {t} b) {{ return a < b ? a : b; }}",
    "floordiv": "{t} {f}({t} a, {t} b) {{ return ({t})(a / b - (a % b != 0 && (a % b < 0) != (b < 0))); }}",
    "floormod": "{t} {f}({t} a, {t} b) {{ return ({t})(a % b + (a % b != 0 && (a % b < 0) != (b < 0) ? b : 0)); }}",
    "sigmoid": "{t} {f}({t} a) {{ return 1 / (1 + exp{s}(-a)); }}",
    "rsqrt": "{t} {f}({t} a) {{ return 1 / sqrt{s}(a); }}",
    "exp10": "{t} {f}({t} a) {{ return pow{s}(10, a); }}",
}


class CExpressions:
    """Prints expressions; ``helpers`` collects the functions that they call, by name, to be inline in the file.

    ``names`` gives the text of each variable, ``load`` that of a load, ``low`` the least value of a whole number, where
    that is known. Raises CompileError naming what C99 or the printer lacks.
    """

    def __init__(self, load: Callable[[Any, list[Any]], str], low: Callable[[Any], int | None]) -> None:
        self.names: dict[Any, str] = {}
        self.helpers: dict[str, str] = {}
        self.lane: str | None = None
        self._load = load
        self._low = low

    def text(self, expr: Any) -> str:
        """``expr`` in C, in parentheses where its place might need them."""
        if isinstance(expr, Var):
            if expr not in self.names:
                raise unknown(f"variable {expr.name!r}, which nothing binds")
            return self.names[expr]
        if isinstance(expr, prim.IntImm | prim.FloatImm):
            return constant(expr.value, c_dtype(expr))
        if isinstance(expr, TensorLoad):
            return self._load(expr.source, list(expr.indices))
        if isinstance(expr, prim.Cast):
            return self._cast(expr)
        if isinstance(expr, prim.Select):
            return self._choice(expr.condition, expr.true_value, expr.false_value)
        if isinstance(expr, prim.Not):
            return f"!{self.text(expr.a)}"
        if isinstance(expr, prim.BitwiseNot):
            return f"({C_TYPES[c_dtype(expr)]})~{self.text(expr.a)}"
        if isinstance(expr, prim.Let):
            self.names[expr.var] = self.text(expr.value)
            return self.text(expr.body)
        if isinstance(expr, prim.Ramp) and self.lane is not None:
            return f"({self.text(expr.base)} + {self.lane} * {self.text(expr.stride)})"
        if isinstance(expr, prim.Broadcast) and self.lane is not None:
            return self.text(expr.value)
        if isinstance(expr, Call):
            return self._call(expr)
        return self._operation(expr)

    def _operation(self, expr: Any) -> str:
        kind, dtype = type(expr).__name__, c_dtype(expr)
        if kind in ("FloorDiv", "FloorMod"):
            if dtype.startswith("uint") or (self._at_least_0(expr.a) and (as_int(expr.b) or 0) > 0):
                return f"({self.text(expr.a)} {'/' if kind == 'FloorDiv' else '%'} {self.text(expr.b)})"
            return self._helped(kind.lower(), dtype, [expr.a, expr.b])
        if kind in ("Max", "Min"):
            return self._helped(kind.lower(), dtype, [expr.a, expr.b])
        if kind == "Mod" and dtype.startswith("float"):
            raise unknown("a remainder of floating-point numbers")
        if kind not in _BINARY:
            raise unknown(f"expressions of the kind {kind}")
        made = f"({self._operand(expr.a, kind)} {_BINARY[kind]} {self._operand(expr.b, kind, True)})"
        return f"({C_TYPES[dtype]}){made}" if dtype in _NARROW and kind in _WRAPPING else made

    def _operand(self, expr: Any, kind: str, right: bool = False) -> str:
        """Without the parentheses that nobody needs to read a sum of products or a chain of conditions."""
        text, inner = self.text(expr), type(expr).__name__
        return (
            bare(text)
            if inner in _BARE_INSIDE.get(kind, ()) and not (right and inner in _SUMS and kind in _SUMS)
            else text
        )

    def _call(self, expr: Any) -> str:
        name = str(getattr(expr.op, "name", expr.op)).rsplit(".", 1)[-1]
        args, dtype = list(expr.args), c_dtype(expr)
        if name == "if_then_else":
            return self._choice(*args)
        if name == "likely":
            return self.text(args[0])
        if name == "isnan":
            return f"(isnan({self.text(args[0])}) != 0)"
        if name in _HELPERS:
            return self._helped(name, dtype, args)
        if name in _MATH and dtype in ("float32", "float64"):
            return f"{_MATH[name]}{_suffix(dtype)}({', '.join(bare(self.text(arg)) for arg in args)})"
        if name == "reinterpret":
            source = c_dtype(args[0])
            function = f"tvm_fusion_{source}_as_{dtype}"
            a, b = C_TYPES[source], C_TYPES[dtype]
            body = f"{b} r; memcpy(&r, &a, sizeof r); return r;"
            self.helpers[function] = f"{b} {function}({a} a) {{ {body} }}"
            return f"{function}({bare(self.text(args[0]))})"
        raise unknown(f"the function {name!r} of {dtype}")

    def _helped(self, name: str, dtype: str, args: list[Any]) -> str:
        function = f"tvm_fusion_{name}_{dtype}"
        self.helpers[function] = _HELPERS[name].format(t=C_TYPES[dtype], f=function, s=_suffix(dtype))
        return f"{function}({', '.join(bare(self.text(arg)) for arg in args)})"

    def _cast(self, expr: Any) -> str:
        source, target = c_dtype(expr.value), c_dtype(expr)
        inner = self.text(expr.value)
        if source == target:
            return inner
        return f"({inner} != 0)" if target == "bool" else f"({C_TYPES[target]}){inner}"

    def _choice(self, condition: Any, a: Any, b: Any) -> str:
        return f"({self.text(condition)} ? {self.text(a)} : {self.text(b)})"

    def _at_least_0(self, expr: Any) -> bool:
        low = self._low(expr)
        return low is not None and low >= 0


def unknown(what: str) -> CompileError:
    """The error for what cannot be printed."""
    return CompileError(f"C source cannot express {what}")


def c_dtype(expr: Any) -> str:
    """The dtype of one lane of an expression or a buffer, one that C99 has."""
    dtype = str(getattr(expr, "dtype", None) or expr.ty).partition("x")[0]
    if dtype not in C_TYPES:
        raise unknown(f"elements of dtype {dtype!r}; it can: {', '.join(C_TYPES)}")
    return dtype


def constant(value: Any, dtype: str) -> str:
    """A number as C has it, read back to the same bits."""
    if dtype.startswith("float"):
        return _float(float(value), dtype)
    if dtype == "bool":
        return "true" if value else "false"
    number = int(value)
    if number in (-(2**31), -(2**63)):  # C has no negative literals: minus of what is too large
        return "INT32_MIN" if number == -(2**31) else "INT64_MIN"
    wide = abs(number) >= (2**32 if dtype.startswith("u") else 2**31)
    text = f"{number}{'U' * dtype.startswith('u')}{'LL' * wide}"
    return f"({text})" if number < 0 else text


def _float(value: float, dtype: str) -> str:
    if math.isnan(value):
        return "NAN"
    if math.isinf(value):
        return "INFINITY" if value > 0 else "(-INFINITY)"
    short = repr(value) if dtype == "float64" else str(np.float32(value))
    text = short if any(mark in short for mark in ".e") else f"{short}.0"
    text += _suffix(dtype)
    return f"({text})" if text.startswith("-") else text


def _suffix(dtype: str) -> str:
    return "f" if dtype == "float32" else ""


def bare(text: str) -> str:
    """``text`` without parentheses around the whole of it."""
    if not (text.startswith("(") and text.endswith(")")):
        return text
    depth = 0
    for place, mark in enumerate(text):
        depth += (mark == "(") - (mark == ")")
        if not depth and place < len(text) - 1:
            return text
    return text[1:-1]
