"""fast_math: exponentials and what is made of them as arithmetic that goes by vectors; libraries go by elements."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.ir.expr import Call
from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.expressions import mapped

_FLOAT = "float32"
_LOG2_E = 1.44269504088896341
# ln 2 in two parts, the first one exact in few bits.
_LN2 = (0.693359375, -2.12194440e-4)
# exp(r) = 1 + r + r^2 p(r) for |r| <= ln 2 / 2, as in the Cephes mathematical library; error below 2 units in the last.
_COEFFICIENTS = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 5.0000001201e-1)
# erf(x) = x p(x^2) / q(x^2) for |x| <= 4, beyond which it is 1 in this precision; the fit that Eigen and XLA use.
_ERF_P = (
    -2.72614225801306e-10, 2.77068142495902e-08, -2.10102402082508e-06, -5.69250639462346e-05, -7.34990630326855e-04,
    -2.95459980854025e-03, -1.60960333262415e-02,
)  # fmt: skip
_ERF_Q = (
    -1.45660718464996e-05,
    -2.13374055278905e-04,
    -1.68282697438203e-03,
    -7.37332916720468e-03,
    -1.42647390514189e-02,
)
_ERF_END = 4.0
# Below the result is 0, above it is infinite.
_LOWEST, _HIGHEST = -87.5, 88.73


def fast_math(expr: Any) -> Any:
    """``expr`` with exponentials, logistic and error functions and hyperbolic tangents of float32 as arithmetic."""
    return mapped(expr, _replaced)


def _replaced(expr: Any) -> Any:
    if not isinstance(expr, Call) or len(expr.args) != 1 or str(expr.ty.dtype) != _FLOAT:
        return expr
    name, x = str(expr.op.name).rsplit(".", 1)[-1], expr.args[0]
    if name == "exp":
        return _bound(x, _exp)
    if name == "sigmoid":
        return _bound(x, lambda v: _f(1) / (_f(1) + _bound(_f(0) - v, _exp)))
    if name == "tanh":
        return _bound(x, _tanh)
    if name == "erf":
        return _bound(x, _erf)
    return expr


def _bound(value: Any, body: Any) -> Any:
    """``body`` of a variable that stands for ``value``, so that it is computed once."""
    var = tirx.Var("v", _FLOAT)
    return prim.Let(var, value, body(var))


def _f(value: float) -> Any:
    return tirx.FloatImm(_FLOAT, value)


def _exp(x: Any) -> Any:
    low = prim.Select(x < _f(_LOWEST), _f(_LOWEST), x)
    return _bound(prim.Select(x > _f(_HIGHEST), _f(_HIGHEST), low), _clamped_exp)


def _clamped_exp(x: Any) -> Any:
    def whole(n: Any) -> Any:
        return _bound(x - n * _f(_LN2[0]) - n * _f(_LN2[1]), lambda r: _scaled(r, n))

    return _bound(tirx.floor(x * _f(_LOG2_E) + _f(0.5)), whole)


def _scaled(r: Any, n: Any) -> Any:
    """exp(r) 2^n, where 2^n alone may overflow."""
    p = _polynomial(_COEFFICIENTS, r)
    exponent = (prim.Cast("int32", n) + tirx.IntImm("int32", 126)) << tirx.IntImm("int32", 23)
    return (p * r * r + r + _f(1)) * tirx.reinterpret(_FLOAT, exponent) * _f(2)


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    """The coefficient of the highest power first."""
    total = _f(coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + _f(coefficient)
    return total


def _erf(x: Any) -> Any:
    low = prim.Select(x < _f(-_ERF_END), _f(-_ERF_END), x)
    clamped = prim.Select(low > _f(_ERF_END), _f(_ERF_END), low)
    return _bound(clamped, lambda v: _bound(v * v, lambda s: v * _polynomial(_ERF_P, s) / _polynomial(_ERF_Q, s)))


def _tanh(x: Any) -> Any:
    """(1 - exp(-2 |x|)) / (1 + exp(-2 |x|)) with the sign of x."""
    size = prim.Select(x < _f(0), _f(0) - x, x)
    positive = _bound(_bound(size * _f(-2), _exp), lambda e: (_f(1) - e) / (_f(1) + e))
    return _bound(positive, lambda t: prim.Select(x < _f(0), _f(0) - t, t))
