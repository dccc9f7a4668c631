"""pieces: an assignment whose value depends on where it is, as one assignment for each range of places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.expressions import as_int, chooses


@dataclass(frozen=True)
class Piece:
    """``value`` where loop variable ``var`` (None: everywhere) is at least ``first`` and below ``end``."""

    value: Any
    var: Any = None
    first: int = 0
    end: int = 0


def pieces(value: Any, extents: Mapping[Any, int]) -> list[Piece]:
    """The pieces of ``value``, which tests one of the loop variables against constants, as a concatenation does.

    ``extents``: that of every loop variable. Another value is one piece.
    """
    test = _test(value, extents)
    if test is None:
        return [Piece(value)]
    return _ranges(value, test[0], 0, extents[test[0]], extents)


def _ranges(value: Any, var: Any, first: int, end: int, extents: Mapping[Any, int]) -> list[Piece]:
    test = _test(value, extents)
    if test is None or not test[0].same_as(var):
        return [Piece(value, var, first, end)]
    _, low, high = test
    inside = max(first, low), min(end, high)
    if inside[0] >= inside[1]:
        return _ranges(value.args[2], var, first, end, extents)
    found = _ranges(value.args[1], var, *inside, extents)
    if first < inside[0]:
        found = [*_ranges(value.args[2], var, first, inside[0], extents), *found]
    if inside[1] < end:
        found += _ranges(value.args[2], var, inside[1], end, extents)
    return found


def _test(value: Any, extents: Mapping[Any, int]) -> tuple[Any, int, int] | None:
    """(variable, first, end) of the range in which an ``if_then_else`` takes its first value; None for another test."""
    if not chooses(value):
        return None
    test = value.args[0]
    a, b = getattr(test, "a", None), getattr(test, "b", None)
    swapped = b in extents
    var, bound = (b, as_int(a)) if swapped else (a, as_int(b))
    if bound is None or var not in extents:
        return None
    below = {prim.LT: bound, prim.LE: bound + 1, prim.GE: bound, prim.GT: bound + 1}
    mirrored = {prim.LT: bound + 1, prim.LE: bound, prim.GE: bound + 1, prim.GT: bound}
    edge = (mirrored if swapped else below).get(type(test))
    if edge is None:
        return None
    from_start = type(test) in ((prim.GE, prim.GT) if swapped else (prim.LT, prim.LE))
    return (var, 0, edge) if from_start else (var, edge, extents[var])
