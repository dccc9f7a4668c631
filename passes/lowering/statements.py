"""Statements of TIR, walked in Python."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tvm import tirx
from tvm.ir.expr import TensorLoad

from tvm_fusion.passes.lowering.expressions import parts


def sequence(statements: Sequence[Any]) -> Any:
    """``statements`` one after another; a single one is itself."""
    return statements[0] if len(statements) == 1 else tirx.SeqStmt(statements)


def children(stmt: Any) -> list[Any]:
    """Statements directly inside a statement, in the order of their execution."""
    inner = [*getattr(stmt, "seq", ()), *(getattr(stmt, name, None) for name in ("body", "then_case", "else_case"))]
    return [child for child in inner if child is not None]


def statements(stmt: Any) -> Iterator[Any]:
    """``stmt`` and everything inside it."""
    yield stmt
    for child in children(stmt):
        yield from statements(child)


def touched(stmt: Any) -> set[Any]:
    """Buffers that a statement reads or writes."""
    inside = list(statements(stmt))
    written = {inner.buffer for inner in inside if isinstance(inner, tirx.BufferStore)}
    loads = (part for inner in inside for expr in expressions(inner) for part in parts(expr))
    return written | {part.source for part in loads if isinstance(part, TensorLoad)}


def expressions(stmt: Any) -> list[Any]:
    """Expressions that belong to a statement itself."""
    return [*getattr(stmt, "indices", ()), *(getattr(stmt, n) for n in ("value", "condition") if hasattr(stmt, n))]
