"""evaluated: as Python and numpy compute it, for numbers and arrays; what is not known is an error."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx

from tvm_fusion.passes.lowering.access_terms import UnknownAccessError
from tvm_fusion.passes.lowering.evaluated import evaluated
from tvm_fusion.passes.lowering.expressions import index

X, Y = (tirx.Var(name, "int64") for name in "xy")
TABLE = tirx.decl_buffer([index(3), index(2)], "int32", name="table")
CASES: dict[str, tuple[Any, Any]] = {
    "sum": (X + Y * index(3) - index(2), lambda x, y: x + 3 * y - 2),
    "quotient": (tirx.floordiv(X, index(3)), lambda x, _: x // 3),
    "rest": (tirx.floormod(X - index(5), index(4)), lambda x, _: (x - 5) % 4),
    "least": (tirx.min(X, Y), np.minimum),
    "greatest": (tirx.max(X, Y), np.maximum),
    "range": (tirx.And(index(0) <= X, X < Y), lambda x, y: (x >= 0) & (x < y)),
    "outside": (tirx.Or(index(0) > X, tirx.Not(X <= Y)), lambda x, y: (x < 0) | (x > y)),
    "equal": (tirx.EQ(X, Y), lambda x, y: x == y),
    "different": (tirx.NE(X, Y), lambda x, y: x != y),
    "chosen": (tirx.if_then_else(X < Y, X, index(7)), lambda x, y: np.where(x < y, x, 7)),
    "cast": (tirx.Cast("int64", tirx.Cast("int32", X)) + index(1), lambda x, _: x + 1),
}


def no_loads(buffer: Any, _: list[Any]) -> Any:
    raise UnknownAccessError(str(buffer.name))


@pytest.mark.parametrize("name", CASES)
@settings(deadline=None)
@given(x=st.lists(st.integers(-20, 20), min_size=1, max_size=5), y=st.integers(-20, 20))
def test_arithmetic(name: str, x: list[int], y: int) -> None:
    expr, expected = CASES[name]
    array = np.array(x)
    np.testing.assert_array_equal(evaluated(expr, {X: array, Y: y}, no_loads), expected(array, y))
    assert evaluated(expr, {X: x[0], Y: y}, no_loads) == expected(x[0], y)


def test_loads_are_read_at_values() -> None:
    found = evaluated(TABLE[X + index(1), index(0)], {X: 1}, lambda buffer, places: (buffer.name, places))
    assert found == ("table", [2, 0])


@pytest.mark.parametrize("expr", [X + Y, tirx.truncdiv(X, index(2)), tirx.exp(tirx.Cast("float32", X))])
def test_what_is_not_known(expr: Any) -> None:
    with pytest.raises(UnknownAccessError, match="not known before it runs"):
        evaluated(expr, {X: 1}, no_loads)
