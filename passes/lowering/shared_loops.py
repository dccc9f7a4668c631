"""shared_by_threads: loops whose passes do not depend on each other, spread over threads."""

from __future__ import annotations

from typing import Any

from tvm import tirx
from tvm.tirx import ForKind, SeqStmt

from tvm_fusion.passes.lowering.expressions import as_int
from tvm_fusion.passes.lowering.statements import touched

# How much longer than its share the busiest thread may take; and how often the threads may be called together.
UNEVEN = 1.15
MOST_CALLS = 16


def shared_by_threads(stmt: Any, threads: int) -> Any:
    """Of every loop nest of ``stmt`` one loop parallel: the outermost that divides evenly, else the most even one.

    Loops that are nested without anything between must have passes that do not depend on each other.
    """
    if isinstance(stmt, SeqStmt):
        here = {child.buffer for child in stmt.seq if isinstance(child, tirx.AllocBuffer)}
        return SeqStmt([child if here & touched(child) else shared_by_threads(child, threads) for child in stmt.seq])
    if not isinstance(stmt, tirx.For):
        return stmt
    nest, calls = [], 1
    inner = stmt
    while isinstance(inner, tirx.For) and inner.kind == ForKind.SERIAL and calls <= MOST_CALLS:
        extent = as_int(inner.extent) or 1
        nest.append((-(-extent // threads) * threads / extent, inner))
        calls *= extent
        inner = inner.body
    if not nest:
        return stmt
    even = [loop for uneven, loop in nest if uneven <= UNEVEN]
    chosen = even[0] if even else min(nest, key=lambda found: found[0])[1]
    return _with_kind(stmt, chosen, ForKind.PARALLEL)


def _with_kind(loop: Any, chosen: Any, kind: Any) -> Any:
    if loop.same_as(chosen):
        return tirx.For(loop.loop_var, loop.min, loop.extent, kind, loop.body)
    return tirx.For(loop.loop_var, loop.min, loop.extent, loop.kind, _with_kind(loop.body, chosen, kind))
