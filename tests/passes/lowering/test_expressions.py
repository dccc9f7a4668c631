"""Expressions of TIR, rewritten."""

from __future__ import annotations

from typing import Any

import pytest
from tvm import tirx
from tvm.ir import assert_structural_equal
from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.expressions import INDEX, index, substituted

BUFFER = tirx.decl_buffer([index(9), index(9)], "float32", name="buffer")
M, N, BOUND = (tirx.Var(name, INDEX) for name in ("m", "n", "bound"))


@pytest.mark.parametrize(("expr", "values", "expected"), [
    (M, {M: N}, N),
    (M, {N: M}, M),
    (M * index(3) + N, {M: N, N: M}, N * index(3) + M),  # all at once
    (BUFFER[M + index(1), M], {M: N}, BUFFER[N + index(1), N]),
    (prim.Select(M < N, BUFFER[M, M], tirx.FloatImm("float32", 0)), {M: N + index(1)},
     prim.Select(N + index(1) < N, BUFFER[N + index(1), N + index(1)], tirx.FloatImm("float32", 0))),
    (prim.Let(BOUND, M, BOUND * N), {M: N}, prim.Let(BOUND, N, BOUND * N)),
], ids=str)  # fmt: skip
def test_substituted(expr: Any, values: dict[Any, Any], expected: Any) -> None:
    assert_structural_equal(substituted(expr, values), expected)
