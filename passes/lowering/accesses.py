"""accesses: what a lowered PrimFunc allocates, reads and writes, found in its TIR alone."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir.expr import TensorLoad
from tvm.ir.prim import expr as prim

from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits
from tvm_fusion.passes.lowering.expressions import as_int, index, parts, rewritten, simplified, uses
from tvm_fusion.passes.lowering.statements import children, expressions, statements
from tvm_fusion.passes.relax_tools import Array

Box = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """One load or store of a parameter: its indices, the loops around it (variable, extent), and the events at which
    it is executed (None: before the first)."""

    parameter: int
    written: bool
    indices: tuple[Any, ...]
    loops: tuple[tuple[Any, int], ...]
    events: tuple[int, ...] | None
    row: Any


@dataclass
class Accesses:
    """``buffers`` are the allocations, ``found`` the accesses of parameters."""

    buffers: list[Any] = field(default_factory=list)
    found: list[Access] = field(default_factory=list)


class UnknownAccessError(Exception):
    """TIR of a form that the analysis does not follow."""


def accesses(function: Any, program: Array, weights: Container[int] = ()) -> Accesses:
    """All allocations and DRAM accesses of ``function``, which executes ``program`` (events, 2: tensor, row).

    Of the parameters that are ``weights`` a single number is an immediate operand and left out.

    Raises UnknownAccessError where it cannot tell what is executed how often.
    """
    return _Walk(function, program, weights).result


class _Walk:
    def __init__(self, function: Any, program: Array, weights: Container[int]) -> None:
        self.program = program
        self.result = Accesses()
        sizes = [math.prod(int(size) for size in param.shape) for param in function.params]
        shapes = [tuple(int(size) for size in param.shape) for param in function.params]
        self.table = next((p for p, s in zip(function.params, shapes, strict=True) if _is_table(p, s, program)), None)
        if self.table is None:
            raise UnknownAccessError("it has no parameter for its row program")
        self.number = {
            param: k
            for k, (param, size) in enumerate(zip(function.params, sizes, strict=True))
            if not (size == 1 and k in weights) and not param.same_as(self.table)
        }
        self.event: Any = None
        self.row: Any = None
        self._stmt(function.body, (), None)

    def _stmt(self, stmt: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        if isinstance(stmt, tirx.SeqStmt):
            for child in stmt.seq:
                self._stmt(child, loops, events)
        elif isinstance(stmt, tirx.AllocBuffer):
            self.result.buffers.append(stmt.buffer)
        elif isinstance(stmt, tirx.Bind):
            if self._column(getattr(stmt.value, "value", stmt.value)) == 1:
                self.row = stmt.var
            self._expr(stmt.value, loops, events)
        elif isinstance(stmt, tirx.For):
            self._loop(stmt, loops, events)
        elif isinstance(stmt, tirx.IfThenElse):
            self._branch(stmt, loops, events)
        elif isinstance(stmt, tirx.BufferStore):
            for expr in (*stmt.indices, stmt.value):
                self._expr(expr, loops, events)
            self._record(stmt.buffer, list(stmt.indices), True, loops, events)
        else:
            raise UnknownAccessError(f"it has a statement {type(stmt).__name__}")

    def _loop(self, stmt: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        extent, low = as_int(stmt.extent), as_int(stmt.min)
        if extent is None or low != 0:
            raise UnknownAccessError(f"loop {stmt.loop_var.name!r} is of unknown length")
        if self._runs_program(stmt):
            if extent != len(self.program) or self.event is not None:
                raise UnknownAccessError("its row program is not executed once from the first event to the last")
            self.event = stmt.loop_var
            self._stmt(stmt.body, loops, tuple(range(extent)))
            return
        self._stmt(stmt.body, (*loops, (stmt.loop_var, extent)), events)

    def _branch(self, stmt: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        condition = stmt.condition
        bound = as_int(getattr(condition, "b", None))
        if (
            events is not None
            and isinstance(condition, prim.LT)
            and self._column(condition.a) == 0
            and bound is not None
        ):
            below = tuple(event for event in events if self.program[event, 0] < bound)
            above = tuple(event for event in events if self.program[event, 0] >= bound)
        elif (
            events is not None
            and isinstance(condition, prim.EQ)
            and condition.a.same_as(self.row)
            and bound is not None
        ):
            below = tuple(event for event in events if self.program[event, 1] == bound)
            above = tuple(event for event in events if self.program[event, 1] != bound)
        elif self._on_chip(stmt):
            below = above = events or ()
        else:
            raise UnknownAccessError(f"it has a condition that is not known before it runs: {condition}")
        self._stmt(stmt.then_case, loops, below)
        if stmt.else_case is not None:
            self._stmt(stmt.else_case, loops, above)

    def _on_chip(self, stmt: Any) -> bool:
        """Whether a statement touches no parameter, so that it does not matter how often it is executed."""
        return not any(
            (isinstance(inner, tirx.BufferStore) and inner.buffer in self.number)
            or any(isinstance(part, TensorLoad) and part.source in self.number for part in _parts(inner))
            for inner in statements(stmt)
        )

    def _expr(self, expr: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        for part in parts(expr):
            if isinstance(part, TensorLoad):
                self._record(part.source, list(part.indices), False, loops, events)

    def _record(
        self,
        buffer: Any,
        indices: list[Any],
        written: bool,
        loops: tuple[tuple[Any, int], ...],
        events: tuple[int, ...] | None,
    ) -> None:
        if buffer in self.number:
            access = Access(self.number[buffer], written, tuple(indices), loops, events, self.row)
            self.result.found.append(access)

    def _column(self, expr: Any) -> int | None:
        """Which column of the current event ``expr`` is."""
        if isinstance(expr, TensorLoad) and expr.source.same_as(self.table) and expr.indices[0].same_as(self.event):
            return as_int(expr.indices[1])
        return None

    def _runs_program(self, loop: Any) -> bool:
        """Whether a loop's variable is the number of the event."""
        return any(
            isinstance(part, TensorLoad) and part.source.same_as(self.table) and part.indices[0].same_as(loop.loop_var)
            for stmt in _before_loops(loop.body)
            for part in _parts(stmt)
        )


def _is_table(param: Any, shape: tuple[int, ...], program: Array) -> bool:
    return shape == program.shape and np.dtype(str(param.dtype)) == program.dtype


def _before_loops(stmt: Any) -> Iterator[Any]:
    """A statement and those inside it up to the first inner loop."""
    yield stmt
    for child in children(stmt):
        if not isinstance(child, tirx.For):
            yield from _before_loops(child)


def _parts(stmt: Any) -> Iterator[Any]:
    """Everything inside the expressions of a statement itself."""
    for expr in expressions(stmt):
        yield from parts(expr)


def moved_bytes(access: Access, program: Array, element_bits: int) -> tuple[int, list[Box]]:
    """Bytes that an access moves in the whole run, and the boxes (first index and extent by axis) that it touches.

    Raises UnknownAccessError if it touches an element several times, or places that are not known.
    """
    spans = _spans(access)
    rows = [None] if access.events is None else [int(program[event, 1]) for event in access.events]
    boxes: list[Box] = []
    for row in rows:
        box: list[int] = []
        for fixed, extent in spans:
            first = row if fixed.same_as(access.row) and row is not None else as_int(fixed)
            if first is None:
                raise UnknownAccessError(f"parameter {access.parameter} is read or written at unknown places: {fixed}")
            box += [first, extent]
        boxes.append(tuple(box))
    if len(set(boxes)) != len(boxes):
        raise _several_times(access)
    elements = sum(math.prod(box[1::2]) for box in boxes)
    return bytes_of(elements, element_bits), boxes


def _spans(access: Access) -> list[tuple[Any, int]]:
    """By axis where an access begins, apart from its loops, and how many elements next to one another these cover."""
    unused = [var for var, _ in access.loops]
    spans = []
    for place in access.indices:
        walked = [(var, extent) for var, extent in access.loops if uses(place, var)]
        if not all(any(var.same_as(other) for other in unused) for var, _ in walked):
            raise _several_times(access)
        unused = [other for other in unused if not any(other.same_as(var) for var, _ in walked)]
        start = simplified(rewritten(place, {var: index(0) for var, _ in walked}, _plain))
        spans.append((start, _covered(access, place, walked)))
    if unused:
        raise _several_times(access)
    return spans


def _covered(access: Access, place: Any, walked: list[tuple[Any, int]]) -> int:
    """The elements that loops cover without a gap and each once: every loop takes steps of the size of those inside."""
    none = {var: index(0) for var, _ in walked}
    found = []
    for var, extent in walked:
        at = [simplified(rewritten(place, {**none, var: index(k)}, _plain)) for k in (0, 1, extent - 1)]
        step, whole = (as_int(simplified(other - at[0])) for other in at[1:])
        if step is None or whole != step * (extent - 1):
            raise UnknownAccessError(f"parameter {access.parameter} is read or written at unknown places: {place}")
        found.append((step, extent))
    corner = simplified(rewritten(place, {var: index(extent - 1) for var, extent in walked}, _plain))
    start = simplified(rewritten(place, none, _plain))
    covered = 1
    for step, extent in sorted(found):
        if step != covered:
            raise _several_times(access)
        covered *= extent
    if as_int(simplified(corner - start)) != covered - 1:
        raise UnknownAccessError(f"parameter {access.parameter} is read or written at unknown places: {place}")
    return covered


def _several_times(access: Access) -> UnknownAccessError:
    return UnknownAccessError(f"parameter {access.parameter} is read or written at one place several times")


def _plain(buffer: Any, indices: list[Any]) -> Any:
    return buffer[tuple(indices)]


def buffer_bytes(buffer: Any) -> int:
    """Bytes of an allocation."""
    return math.prod(int(size) for size in buffer.shape) * -(-dtype_bits(str(buffer.dtype)) // 8)
