"""CStatements and CExpressions: every form means in C what it means in TIR, or is refused by name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm import tirx

from tests.passes.c_running import call, compiled
from tests.passes.modules import Array
from tvm_fusion.errors import CompileError
from tvm_fusion.passes.c_source import CSource
from tvm_fusion.passes.sources.c_expressions import bare, constant
from tvm_fusion.passes.sources.c_statements import CStatements

X8, Y32, F32 = (tirx.decl_buffer((8,), dtype, name=dtype) for dtype in ("int8", "int32", "float32"))
I = tirx.Var("i", "int32")  # noqa: E741
V = tirx.Var("v", "float32")
LANES = tirx.Ramp(tirx.const(0, "int32"), 1, 8)
Expected = Callable[[Array, Array, Array], Array]


def printed(body: Any, *buffers: Any) -> CStatements:
    """A PrimFunc over ``buffers``."""
    return CStatements(tirx.PrimFunc(list(buffers), body), (), "global.sram", {})


def each(value: Any, kind: Any = tirx.ForKind.SERIAL, into: Any = Y32) -> Any:
    """``value`` stored for every element."""
    return tirx.For(I, 0, 8, kind, tirx.BufferStore(into, value, [I]))


def wide(x: Any) -> Any:
    return tirx.Cast("int32", x)


Y = Y32[I]
FORMS: dict[str, tuple[Any, Expected]] = {
    "a quotient that rounds down": (each(wide(X8[I]) // 3), lambda x, y, z: x.astype(int) // 3),
    "a remainder that is not negative": (each(wide(X8[I]) % 3), lambda x, y, z: x.astype(int) % 3),
    "narrow numbers wrap": (each(wide(X8[I] + X8[I]), tirx.ForKind.VECTORIZED), lambda x, y, z: x + x),
    "bits": (each(((Y << 3) ^ ~Y) >> 1 & 255), lambda x, y, z: ((y << 3) ^ ~y) >> 1 & 255),
    "bits of a real number": (each(tirx.reinterpret("int32", F32[I])), lambda x, y, z: z.view(np.int32)),
    "a sum on the right": (each(Y - (Y - 5)), lambda x, y, z: np.full_like(y, 5)),
    "a chosen value": (each(tirx.Select(Y < 2, Y, 9)), lambda x, y, z: np.where(y < 2, y, 9)),
    "conditions": (
        each(tirx.Select(tirx.any(tirx.all(Y < 9, Y > 2), tirx.Not(Y < 50)), 1, 0)),
        lambda x, y, z: (y < 9) & (y > 2) | (y >= 50),
    ),
    "numbers at the ends": (each(tirx.min(tirx.max(Y, -(2**31)), 2**31 - 1)), lambda x, y, z: y),
    "half to even": (each(wide(tirx.round(tirx.Cast("float32", Y) / 2.0))), lambda x, y, z: np.round(y / 2)),
    "a vector": (
        tirx.BufferStore(Y32, Y32[LANES] * tirx.Broadcast(tirx.const(7, "int32"), 8), [LANES]),
        lambda x, y, z: y * 7,
    ),
    "a name for a value": (
        each(wide(tirx.Let(V, F32[I] * 8.0, V * V)), tirx.ForKind.UNROLLED),
        lambda x, y, z: ((z * 8) ** 2).astype(np.int32),
    ),
    "a branch": (
        tirx.For(I, 0, 8, tirx.ForKind.PARALLEL, tirx.IfThenElse(I < 3, tirx.BufferStore(Y32, 1, [I]), None)),
        lambda x, y, z: np.where(np.arange(8) < 3, 1, y),
    ),
    "names that C has taken": (
        tirx.For(tirx.Var("int", "int32"), 0, 2, tirx.ForKind.SERIAL, each(tirx.exp(F32[I]), into=F32)),
        lambda x, y, z: y,
    ),
}


@pytest.mark.parametrize("name", FORMS)
def test_forms(name: str, tmp_path: Path) -> None:
    body, expected = FORMS[name]
    statements = printed(body, X8, Y32, F32)
    names = [statements.expressions.names[buffer] for buffer in (X8, Y32, F32)]
    head = "void f(int8_t *{}, int32_t *{}, float *{}) {{\n(void){}; (void){}; (void){};".format(*names, *names)
    includes = "".join(f"#include <{name}.h>\n" for name in ("math", "stdbool", "stdint", "string"))
    helpers = [f"static inline {helper}" for helper in statements.expressions.helpers.values()]
    text = includes + "\n".join([*helpers, head, *statements.lines, "}\n"])
    rng = np.random.default_rng(0)
    x = rng.integers(-128, 128, 8).astype(np.int8)
    y = rng.integers(-100, 100, 8).astype(np.int32)
    z = rng.standard_normal(8).astype(np.float32)
    right = expected(x, y.copy(), z.copy())
    call(compiled(text, tmp_path), CSource("f", "", text), [x, y, z])
    assert np.array_equal(y, right)


REFUSED: dict[str, tuple[Any, str]] = {
    "a function": (each(tirx.popcount(Y)), "the function 'popcount' of int32"),
    "a statement": (tirx.While(Y32[0] < 1, tirx.Evaluate(0)), "the statement While"),
    "a dtype": (each(wide(tirx.Cast("float16", F32[I]))), "elements of dtype 'float16'; it can: bool, int8"),
    "an unknown length": (tirx.For(I, 0, Y32[0], tirx.ForKind.SERIAL, tirx.Evaluate(0)), ".*whose length is not known"),
    "a buffer from elsewhere": (each(F32[I], into=F32), "buffer 'float32', which is neither"),
    "a variable from elsewhere": (tirx.BufferStore(Y32, I, [0]), "variable 'i', which nothing binds"),
    "a remainder of real numbers": (each(wide(tirx.Mod(F32[I], F32[I]))), "a remainder of"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_it_cannot_print_is_named(name: str) -> None:
    body, message = REFUSED[name]
    buffers = [X8, Y32] if name == "a buffer from elsewhere" else [X8, Y32, F32]
    with pytest.raises(CompileError, match=f"^C source cannot express {message}"):
        printed(body, *buffers)


@pytest.mark.parametrize(("value", "dtype", "text"), [
    (5, "int32", "5"), (-5, "int64", "(-5)"), (2**31, "int64", "2147483648LL"), (2**32 - 1, "uint32", "4294967295U"),
    (-(2**31), "int32", "INT32_MIN"), (-(2**63), "int64", "INT64_MIN"), (2**64 - 1, "uint64", f"{2**64 - 1}ULL"),
    (True, "bool", "true"), (1.0, "float32", "1.0f"), (-0.1, "float64", "(-0.1)"),
    (float("inf"), "float32", "INFINITY"),
])  # fmt: skip
def test_constants(value: float, dtype: str, text: str) -> None:
    assert constant(value, dtype) == text


def test_real_constants_read_back_to_the_same_bits() -> None:
    values = np.random.default_rng(0).standard_normal(1000).astype(np.float32) * np.float32(1e-3)
    assert all(np.float32(bare(constant(float(v), "float32"))[:-1]) == v for v in values)


@pytest.mark.parametrize(("text", "expected"), [
    ("(a + b)", "a + b"), ("(a) + (b)", "(a) + (b)"), ("a", "a"), ("((a))", "(a)"), ("(float)(a)", "(float)(a)"),
])  # fmt: skip
def test_outer_parentheses(text: str, expected: str) -> None:
    assert bare(text) == expected
