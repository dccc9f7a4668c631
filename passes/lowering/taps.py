"""taps: the addends of a window, each with the range of places where it does not lie in the padding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise, product
from typing import Any

from tvm.ir.prim import expr as prim
from tvm_ffi import structural_equal

from tvm_fusion.passes.lowering.access_terms import linear
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import as_int, chooses, loads, mapped, parts, simplified
from tvm_fusion.passes.lowering.vector_nest import Loops

# Taps that are written one after another; of more, those of a row.
MOST_TAPS = 12
Taps = dict[Any, int]


@dataclass(frozen=True)
class _Bound:
    """``steps`` of variables + ``start`` >= 0."""

    steps: dict[Any, int]
    start: int
    condition: Any


@dataclass(frozen=True)
class Cell:
    """Ranges (first, end) of some spatial loops, and the taps (values of some reduce loops) that count everywhere
    there."""

    ranges: dict[Any, tuple[int, int]]
    taps: tuple[Taps, ...]


@dataclass(frozen=True)
class Window:
    """``value`` without its test for padding; ``cells`` cover the places where an addend counts, ``left`` are the
    conditions that remain, and ``unrolled`` the reduce loops that ``cells`` stand for."""

    value: Any
    cells: tuple[Cell, ...]
    left: tuple[Any, ...]
    unrolled: tuple[Any, ...]


def window_taps(block: Block, free: Loops, inner: Loops, closest: Any) -> Window | None:
    """The cells of a block that adds up (or compares) values, of which those in the padding change nothing.

    ``closest``: the spatial loop over neighbours in memory, whose conditions must be gone in every cell. None if the
    block is of another form.
    """
    found = _unguarded(block)
    if found is None:
        return None
    value, conditions = found
    bounds = [_bound(condition, [var for var, _ in (*free, *inner)]) for condition in conditions]
    spatial, reduce = dict(free), dict(inner)
    groups: dict[Any, list[_Bound]] = {}  # by spatial loop
    for bound in bounds:
        if bound is None:
            return None
        over = [var for var in bound.steps if var in spatial]
        if len(over) > 1:
            return None
        groups.setdefault(over[0] if over else None, []).append(bound)
    near = _loops_of(groups.get(closest, []), reduce)
    every = _loops_of(bounds, reduce)
    count = _count(every, reduce)
    chosen = every if count <= MOST_TAPS else near
    if _count(chosen, reduce) > MOST_TAPS:
        return None
    inside = [bound for bound in bounds if bound is not None and _is_inside(bound, chosen, spatial)]
    left = tuple(bound.condition for bound in bounds if bound is not None and bound not in inside)
    if any(_depends(bound, closest) for bound in bounds if bound is not None and bound not in inside):
        return None
    return Window(value, tuple(_cells(inside, spatial, chosen, reduce)), left, tuple(chosen))


def _unguarded(block: Block) -> tuple[Any, list[Any]] | None:
    """The value with the one choice in it made for its first value, and the conditions of that."""
    value, init = block.value, block.init
    choices = [part for part in parts(value) if chooses(part)]
    if len(choices) != 1 or not isinstance(value, (prim.Add, prim.Max, prim.Min)):
        return None
    (choice,) = choices
    sides = [value.a, value.b]
    own = [side for side in sides if loads(side, block.buffer)]
    if len(own) != 1 or not structural_equal(choice.args[2], init):
        return None
    (other,) = [side for side in sides if side is not own[0]]
    is_sum = isinstance(value, prim.Add)
    if not (other.same_as(choice) or (is_sum and isinstance(other, prim.Mul) and _factor(other, choice))):
        return None
    return mapped(value, lambda part: part.args[1] if chooses(part) else part), _conjuncts(choice.args[0])


def _factor(product_: Any, choice: Any) -> bool:
    return any(side.same_as(choice) for side in (product_.a, product_.b))


def _conjuncts(condition: Any) -> list[Any]:
    if isinstance(condition, prim.And):
        return [*_conjuncts(condition.a), *_conjuncts(condition.b)]
    return [condition]


def _bound(condition: Any, variables: list[Any]) -> _Bound | None:
    forms = {prim.LT: (-1, -1), prim.LE: (-1, 0), prim.GE: (1, 0), prim.GT: (1, -1)}
    if type(condition) not in forms:
        return None
    sign, offset = forms[type(condition)]
    difference = condition.a - condition.b if sign > 0 else condition.b - condition.a
    steps, start = linear(simplified(difference), variables)
    constant = as_int(simplified(start))
    if steps is None or constant is None:
        return None
    return _Bound({var: step for var, step in steps.items() if step}, constant + offset, condition)


def _loops_of(bounds: Sequence[_Bound | None], reduce: dict[Any, int]) -> list[Any]:
    found = {var for bound in bounds if bound is not None for var in bound.steps}
    return [var for var in reduce if var in found]


def _count(loops: Sequence[Any], extents: dict[Any, int]) -> int:
    count = 1
    for var in loops:
        count *= extents[var]
    return count


def _depends(bound: _Bound, var: Any) -> bool:
    return var in bound.steps


def _is_inside(bound: _Bound, chosen: Sequence[Any], spatial: dict[Any, int]) -> bool:
    """Whether a condition is decided by the taps that are written out and one spatial loop."""
    return all(var in chosen or var in spatial for var in bound.steps)


def _cells(bounds: list[_Bound], spatial: dict[Any, int], chosen: Sequence[Any], reduce: dict[Any, int]) -> list[Cell]:
    loops = [var for var in spatial if any(var in bound.steps for bound in bounds)]
    taps: list[Taps] = [
        dict(zip(chosen, values, strict=True)) for values in product(*(range(reduce[var]) for var in chosen))
    ]
    ranges = [{var: _range(bounds, var, tap, spatial[var]) for var in loops} for tap in taps]
    cuts = []
    for var in loops:
        edges = sorted({0, spatial[var], *(edge for found in ranges for edge in found[var])})
        cuts.append([(first, end) for first, end in pairwise(edges)])
    cells = []
    fixed = [bound for bound in bounds if not any(var in spatial for var in bound.steps)]
    for pieces in product(*cuts):
        cell = dict(zip(loops, pieces, strict=True))
        active = [
            tap
            for tap, found in zip(taps, ranges, strict=True)
            if all(found[var][0] <= cell[var][0] and cell[var][1] <= found[var][1] for var in loops)
            and all(_value(bound, tap) >= 0 for bound in fixed)
        ]
        if active:
            cells.append(Cell(cell, tuple(active)))
    return cells


def _range(bounds: list[_Bound], var: Any, tap: Taps, extent: int) -> tuple[int, int]:
    """Where a tap counts along a spatial loop; (0, 0) if nowhere."""
    first, end = 0, extent
    for bound in bounds:
        step = bound.steps.get(var)
        if step is None:
            continue
        rest = _value(bound, tap)
        if step > 0:  # step * var + rest >= 0
            first = max(first, -(rest // step))
        else:
            end = min(end, rest // -step + 1)
    return (first, end) if first < end else (0, 0)


def _value(bound: _Bound, tap: Taps) -> int:
    return bound.start + sum(step * tap[other] for other, step in bound.steps.items() if other in tap)
