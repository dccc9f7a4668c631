"""Loops around a statement: one for every counter that counts."""

from __future__ import annotations

from typing import Any

import pytest
from tvm import tirx
from tvm.ir.expr import Var

from tvm_fusion.passes.lowering.expressions import as_int, index
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.statements import statements

BODY = tirx.Evaluate(index(0))


def made(nest: Any) -> list[tuple[str, int, int]]:
    """(name, passes, kind) of loops from the outermost, all of which start at 0."""
    found = [stmt for stmt in statements(nest) if isinstance(stmt, tirx.For)]
    assert all(as_int(loop.min) == 0 for loop in found)
    return [(loop.loop_var.name, int(loop.extent), int(loop.kind)) for loop in found]


def test_counter_of_several_passes_is_a_variable() -> None:
    var = counter("tile", 2)
    assert isinstance(var, Var)
    assert var.name == "tile"
    assert str(var.ty.dtype) == "int64"


def test_counter_of_one_pass_is_zero() -> None:
    assert as_int(counter("tile", 1)) == 0


@pytest.mark.parametrize("kind", [tirx.ForKind.SERIAL, tirx.ForKind.UNROLLED, tirx.ForKind.VECTORIZED])
def test_loops_of_a_kind(kind: Any) -> None:
    nest = loop_nest([(counter("a", 2), 2), (counter("b", 3), 3)], BODY, kind)
    assert made(nest) == [("a", 2, int(kind)), ("b", 3, int(kind))]


def test_single_passes_take_no_loop() -> None:
    nest = loop_nest([(counter(name, count), count) for name, count in (("a", 1), ("b", 4), ("c", 1))], BODY)
    assert made(nest) == [("b", 4, int(tirx.ForKind.SERIAL))]
    assert loop_nest([(counter("a", 1), 1)], BODY).same_as(BODY)
    assert loop_nest([], BODY).same_as(BODY)


def test_a_variable_takes_a_loop_even_of_one_pass() -> None:
    """The body refers to it."""
    assert made(loop_nest([(loop_var("a"), 1)], BODY)) == [("a", 1, int(tirx.ForKind.SERIAL))]
