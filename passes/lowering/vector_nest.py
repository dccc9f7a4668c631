"""vector_nest: loops around a statement, in the order of memory, the closest elements as vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from tvm_fusion.passes.lowering.expressions import as_int, index, rewritten, simplified, uses
from tvm_fusion.passes.lowering.row_buffers import flat, loop_nest, loop_var
from tvm_fusion.passes.lowering.statements import expressions, statements

Loops = list[tuple[Any, int]]
# From what loop variables stand for, the variable of the lane (None: no vector) and the number of lanes.
Build = Callable[[dict[Any, Any], Any, int], Any]


def vector_nest(loops: Loops, lanes: int, build: Build) -> Any:
    """``build(values, lane, count)`` for every combination of ``loops``, ``count`` neighbours at a time.

    The loop along which the place of what is stored last grows by one becomes vectors, together with those around it
    where the statement does not tell them apart; where there is none, the loops are serial.
    """
    position = _stored_at(build({}, None, 1))
    steps = {var: _step(position, var, loops) for var, _ in loops}
    ordered = sorted(loops, key=lambda loop: -steps[loop[0]])
    if not ordered or steps[ordered[-1][0]] != 1 or lanes < 2:
        return loop_nest(ordered, build({}, None, 1))
    var, extent = ordered.pop()
    values: dict[Any, Any] = {}
    while ordered and steps[ordered[-1][0]] == extent:
        outer, count = ordered[-1]
        joined = loop_var("element")
        tried = {
            name: rewritten(value, {var: joined - outer * index(extent)}, _plain) for name, value in values.items()
        }
        tried[var] = joined - outer * index(extent)
        if _uses(build(tried, None, 1), outer):
            break
        ordered.pop()
        values, var, extent = tried, joined, extent * count
    return loop_nest(ordered, _split(var, extent, lanes, values, build))


def _split(var: Any, extent: int, lanes: int, values: dict[Any, Any], build: Build) -> Any:
    """Whole vectors, then the rest."""
    whole, rest = divmod(extent, lanes)
    parts = []
    if whole:
        block = loop_var("vector")
        body = _vector(var, block * index(lanes), lanes, values, build)
        parts.append(loop_nest([(block, whole)], body))
    if rest:
        parts.append(_vector(var, index(whole * lanes), rest, values, build))
    return parts[0] if len(parts) == 1 else tirx.SeqStmt(parts)


def _vector(var: Any, start: Any, count: int, values: dict[Any, Any], build: Build) -> Any:
    lane = loop_var("lane") if count > 1 else None
    place = {var: start if lane is None else start + lane}
    return build({name: rewritten(value, place, _plain) for name, value in values.items()} | place, lane, count)


def vectorized(lane: Any, count: int, body: Any) -> Any:
    """``body`` for all lanes at once."""
    if lane is None:
        return body
    return tirx.For(lane, index(0), index(count), tirx.ForKind.VECTORIZED, body)


def _stored_at(statement: Any) -> Any:
    """The place of the element that a statement stores last, in elements of its buffer."""
    stores = [inner for inner in statements(statement) if isinstance(inner, tirx.BufferStore)]
    return flat([int(size) for size in stores[-1].buffer.shape], list(stores[-1].indices))


def _step(position: Any, var: Any, loops: Loops) -> int:
    """By how much ``position`` grows with ``var`` near the start of the loops; 0 if it does not."""
    start = {other: index(0) for other, _ in loops}
    first, second = (simplified(rewritten(position, {**start, var: index(at)}, _plain)) for at in (0, 1))
    return as_int(simplified(second - first)) or 0


def _uses(statement: Any, var: Any) -> bool:
    return any(uses(expr, var) for inner in statements(statement) for expr in expressions(inner))


def _plain(buffer: Any, indices: list[Any]) -> Any:
    return buffer[tuple(indices)]
