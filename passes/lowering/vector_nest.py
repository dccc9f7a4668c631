"""vector_nest: loops around a statement, in the order of memory, the closest elements as vectors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tvm import tirx

from tvm_fusion.passes.lowering.expressions import as_int, index, simplified, substituted, uses
from tvm_fusion.passes.lowering.loops import counter, loop_nest, loop_var
from tvm_fusion.passes.lowering.row_buffers import flat
from tvm_fusion.passes.lowering.statements import expressions, sequence, statements

Loops = list[tuple[Any, int]]
# From what loop variables stand for, the variable of the lane (0: no vector) and the number of lanes.
Build = Callable[[dict[Any, Any], Any, int], Any]


def vector_nest(loops: Loops, lanes: int, build: Build) -> Any:
    """``build(values, lane, count)`` for every combination of ``loops``, ``count`` neighbours at a time.

    The loop along which the place of what is stored last grows by one becomes vectors, together with those around it
    where the statement does not tell them apart; where there is none, the loops are serial.
    """
    position = _stored_at(build({}, index(0), 1))
    steps = {var: _step(position, var, loops) for var, _ in loops}
    ordered = sorted(loops, key=lambda loop: -steps[loop[0]])
    if not ordered or steps[ordered[-1][0]] != 1 or lanes < 2:
        return loop_nest(ordered, build({}, index(0), 1))
    var, extent = ordered.pop()
    values: dict[Any, Any] = {}
    while ordered and steps[ordered[-1][0]] == extent:
        outer, count = ordered[-1]
        joined = loop_var("element")
        place = {var: joined - outer * index(extent)}
        tried = {name: substituted(value, place) for name, value in values.items()} | place
        if _uses(build(tried, index(0), 1), outer):
            break
        ordered.pop()
        values, var, extent = tried, joined, extent * count
    return loop_nest(ordered, _split(var, extent, lanes, values, build))


def step_of(load: Any, var: Any, loops: Loops) -> int:
    """By how many elements the place of a load grows with a loop's variable; 0 if by none or by no fixed number."""
    return _step(flat([int(size) for size in load.source.shape], list(load.indices)), var, loops)


def closest_loop(loops: Loops, statement: Any) -> Any:
    """The variable along which the place of what a statement stores last grows by one, if there is one."""
    position = _stored_at(statement)
    return next((var for var, _ in loops if _step(position, var, loops) == 1), None)


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
    return sequence(parts)


def _vector(var: Any, start: Any, count: int, values: dict[Any, Any], build: Build) -> Any:
    lane = counter("lane", count)
    place = {var: start + lane}
    return build({name: substituted(value, place) for name, value in values.items()} | place, lane, count)


def vectorized(lane: Any, count: int, body: Any) -> Any:
    """``body`` for all lanes at once."""
    return loop_nest([(lane, count)], body, tirx.ForKind.VECTORIZED)


def _stored_at(statement: Any) -> Any:
    """The place of the element that a statement stores last, in elements of its buffer."""
    stores = [inner for inner in statements(statement) if isinstance(inner, tirx.BufferStore)]
    return flat([int(size) for size in stores[-1].buffer.shape], list(stores[-1].indices))


def _step(position: Any, var: Any, loops: Loops) -> int:
    """By how much ``position`` grows with ``var`` near the start of the loops; 0 if it does not."""
    start = {other: index(0) for other, _ in loops}
    first, second = (simplified(substituted(position, {**start, var: index(at)})) for at in (0, 1))
    return as_int(simplified(second - first)) or 0


def _uses(statement: Any, var: Any) -> bool:
    return any(uses(expr, var) for inner in statements(statement) for expr in expressions(inner))
