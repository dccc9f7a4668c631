"""Loops of TIR around a statement, and what counts their passes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm import tirx
from tvm.ir.expr import Var

from tvm_fusion.passes.lowering.expressions import INDEX, index


def loop_var(name: str) -> Any:
    """A variable for a loop."""
    return tirx.Var(name, INDEX)


def counter(name: str, count: int) -> Any:
    """What counts the passes of a loop: a variable, or 0 where there is one pass alone."""
    return loop_var(name) if count > 1 else index(0)


def loop_nest(counters: Sequence[tuple[Any, int]], body: Any, kind: int = tirx.ForKind.SERIAL) -> Any:
    """``body`` inside loops over (counter, count), the last innermost; a counter that is no variable takes none."""
    for var, count in reversed(counters):
        if isinstance(var, Var):
            body = tirx.For(var, index(0), index(count), kind, body)
    return body
