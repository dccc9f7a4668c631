"""Statements of TIR: one after another, and walked."""

from __future__ import annotations

from typing import Any

from tvm import tirx

from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.statements import sequence, statements

BUFFER = tirx.decl_buffer([index(4)], "float32", name="buffer")


def store(place: int) -> Any:
    return tirx.BufferStore(BUFFER, tirx.FloatImm("float32", place), [index(place)])


def test_one_statement_is_its_own_sequence() -> None:
    made = store(0)
    assert sequence([made]).same_as(made)


def test_several_statements_keep_their_order() -> None:
    made = [store(place) for place in (2, 0, 1)]
    found = sequence(made)
    assert isinstance(found, tirx.SeqStmt)
    assert [s for s in statements(found) if isinstance(s, tirx.BufferStore)] == made
