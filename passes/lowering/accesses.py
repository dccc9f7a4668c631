"""accesses: what a lowered PrimFunc allocates, reads and writes, found in its TIR alone."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir.expr import TensorLoad, Var
from tvm.ir.prim import expr as prim
from tvm_ffi import structural_equal

from tvm_fusion.cost_models.sizes import bytes_of
from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, decides, deciding_operands, linear
from tvm_fusion.passes.lowering.expressions import as_int, operands, parts, simplified, uses
from tvm_fusion.passes.lowering.statements import children, expressions, statements
from tvm_fusion.passes.relax_tools import Array

Box = tuple[int, ...]


@dataclass(frozen=True)
class Access:
    """One load or store of a parameter: its indices, the loops around it (variable, extent), and the events at which
    it is executed (None: before the first). The loop over blocks is none of the loops: events say which block.
    ``outside``: how many of the loops are around that over the events."""

    parameter: int
    written: bool
    indices: tuple[Any, ...]
    loops: tuple[tuple[Any, int], ...]
    events: tuple[int, ...] | None
    row: Any
    outside: int = 0


@dataclass(frozen=True)
class Touch:
    """One load or store of an allocated buffer: the events at which it is executed, inside the ``section``-th loop over
    events (both None outside of all). ``certain``: no other condition decides whether it is."""

    buffer: Any
    written: bool
    events: tuple[int, ...] | None
    section: int | None
    certain: bool


@dataclass
class Accesses:
    """``buffers`` are the allocations (those of every thread once), ``found`` the accesses of parameters, ``touches``
    those of all else; ``sections`` how many loops over events there are, one after another.

    ``blocks``: the spans of the program (first event, end) that are executed one after another, by one thread each.
    """

    buffers: list[Any] = field(default_factory=list)
    found: list[Access] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)
    sections: int = 0
    blocks: list[tuple[int, int]] = field(default_factory=list)

    def block_of(self, event: int) -> int:
        """The number of the block that an event belongs to."""
        return next(k for k, (first, end) in enumerate(self.blocks) if first <= event < end)


def accesses(function: Any, program: Array, table: int, weights: Container[int] = ()) -> Accesses:
    """All allocations and DRAM accesses of ``function``, which executes ``program`` (events, 2: tensor, row).

    The program is parameter ``table``. Of the parameters that are ``weights`` a single number is an immediate operand
    and left out.

    Raises UnknownAccessError where it cannot tell what is executed how often.
    """
    return _Walk(function, program, table, weights).result


class _Walk:
    def __init__(self, function: Any, program: Array, table: int, weights: Container[int]) -> None:
        self.program = program
        self.result = Accesses()
        sizes = [math.prod(int(size) for size in param.shape) for param in function.params]
        self.table = function.params[table] if table < len(sizes) else None
        if self.table is None or not _is_table(self.table, program):
            raise UnknownAccessError("it has no parameter for its row program")
        self.number = {
            param: k
            for k, (param, size) in enumerate(zip(function.params, sizes, strict=True))
            if not (size == 1 and k in weights) and k != table
        }
        self.names = {param: param.name for param in function.params}
        self.event: Any = None  # where in the program the current event stands
        self.row: Any = None
        self.outside = 0  # loops around that over events
        self.certain = True
        self._stmt(function.body, (), None)
        ends = [0, *(end for _, end in self.result.blocks)]
        if ends != [*(first for first, _ in self.result.blocks), len(program)]:
            raise UnknownAccessError("its row program is not executed once from the first event to the last")

    def _stmt(self, stmt: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        if isinstance(stmt, tirx.SeqStmt):
            for child in stmt.seq:
                self._stmt(child, loops, events)
        elif isinstance(stmt, tirx.Evaluate) and as_int(stmt.value) is not None:
            pass  # a thread that waits for the others
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
        place = self._place_in_program(stmt)
        if place is None:
            self._stmt(stmt.body, (*loops, (stmt.loop_var, extent)), events)
            return
        if events is not None:
            raise UnknownAccessError("its row program is executed inside of itself")
        self.event = place
        first, block = self._executed_from(place, stmt.loop_var, extent, loops)
        count = 1 if block is None else block[1]
        if not 0 <= first <= len(self.program) - count * extent:
            raise UnknownAccessError("its row program is not executed once from the first event to the last")
        self.result.blocks += [(first + k * extent, first + (k + 1) * extent) for k in range(count)]
        inner = tuple(loop for loop in loops if block is None or not loop[0].same_as(block[0]))
        self.outside = len(inner)
        self._stmt(stmt.body, inner, tuple(range(first, first + count * extent)))
        self.outside = 0
        self.result.sections += 1

    @staticmethod
    def _executed_from(
        place: Any, event: Any, extent: int, loops: tuple[tuple[Any, int], ...]
    ) -> tuple[int, tuple[Any, int] | None]:
        """The first event of the program that a loop executes, and the loop over blocks around it if there is one."""
        steps, start = linear(place, [event, *(var for var, _ in loops)])
        first = as_int(simplified(start))
        others = [loop for loop in loops if steps is not None and loop[0] in steps]
        if steps is None or first is None or steps.get(event) != 1 or len(others) > 1:
            raise UnknownAccessError("its row program is not executed event after event")
        if others and steps[others[0][0]] != extent:
            raise UnknownAccessError("its row program is not executed block after block")
        return first, (others[0] if others else None)

    def _branch(self, stmt: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        condition, certain = stmt.condition, self.certain
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
            self.certain = False
        else:
            raise UnknownAccessError(f"it has a condition that is not known before it runs: {condition}")
        self._stmt(stmt.then_case, loops, below)
        if stmt.else_case is not None:
            self._stmt(stmt.else_case, loops, above)
        self.certain = certain

    def _on_chip(self, stmt: Any) -> bool:
        """Whether a statement touches no parameter, so that it does not matter how often it is executed."""
        return not any(
            (isinstance(inner, tirx.BufferStore) and inner.buffer in self.number)
            or any(self._reads(expr) for expr in expressions(inner))
            for inner in statements(stmt)
        )

    def _expr(self, expr: Any, loops: tuple[tuple[Any, int], ...], events: tuple[int, ...] | None) -> None:
        if isinstance(expr, TensorLoad):
            self._record(expr.source, list(expr.indices), False, loops, events)
        elif isinstance(expr, Var) and expr in self.names:
            raise UnknownAccessError(f"parameter {self.names[expr]!r} is handed on as an address")
        if not decides(expr):
            for part in operands(expr):
                self._expr(part, loops, events)
            return
        first, *others = deciding_operands(expr)
        if any(map(self._reads, others)):
            raise UnknownAccessError(f"it has a condition that is not known before it runs: {expr}")
        self._expr(first, loops, events)
        certain, self.certain = self.certain, False
        for part in others:
            self._expr(part, loops, events)
        self.certain = certain

    def _reads(self, expr: Any) -> bool:
        """Whether an expression reads a parameter."""
        return any(isinstance(part, TensorLoad) and part.source in self.number for part in parts(expr))

    def _record(
        self,
        buffer: Any,
        indices: list[Any],
        written: bool,
        loops: tuple[tuple[Any, int], ...],
        events: tuple[int, ...] | None,
    ) -> None:
        if buffer in self.number:
            access = Access(self.number[buffer], written, tuple(indices), loops, events, self.row, self.outside)
            self.result.found.append(access)
        elif buffer not in self.names:
            section = None if events is None else self.result.sections
            self.result.touches.append(Touch(buffer, written, events, section, self.certain))

    def _column(self, expr: Any) -> int | None:
        """Which column of the current event ``expr`` is."""
        if isinstance(expr, TensorLoad) and expr.source.same_as(self.table) and self.event is not None:
            return as_int(expr.indices[1]) if structural_equal(expr.indices[0], self.event) else None
        return None

    def _place_in_program(self, loop: Any) -> Any:
        """Where in the program the body of a loop reads, if that depends on the loop's variable."""
        return next(
            (
                part.indices[0]
                for stmt in _before_loops(loop.body)
                for part in _parts(stmt)
                if isinstance(part, TensorLoad)
                and part.source.same_as(self.table)
                and uses(part.indices[0], loop.loop_var)
            ),
            None,
        )


def _is_table(param: Any, program: Array) -> bool:
    shape = tuple(int(size) for size in param.shape)
    return shape == program.shape and np.dtype(str(param.dtype)) == program.dtype


def _before_loops(stmt: Any) -> Iterator[Any]:
    """A statement and those inside it up to the first inner loop."""
    if not isinstance(stmt, tirx.For):
        yield stmt
        for child in children(stmt):
            yield from _before_loops(child)


def _parts(stmt: Any) -> Iterator[Any]:
    """Everything inside the expressions of a statement itself."""
    for expr in expressions(stmt):
        yield from parts(expr)


def moved_bytes(access: Access, program: Array, seen: Accesses, element_bits: int) -> tuple[int, dict[int, list[Box]]]:
    """Bytes that an access moves in the whole run, and by block the boxes (first index and extent by axis) touched.

    What happens before the first event counts as block 0. Raises UnknownAccessError if a block touches an element
    several times, or places that are not known.
    """
    spans = _spans(access)
    boxes: dict[int, list[Box]] = {}
    for event in access.events if access.events is not None else (None,):
        row = None if event is None else int(program[event, 1])
        box: list[int] = []
        for fixed, extent in spans:
            first = row if fixed.same_as(access.row) and row is not None else as_int(fixed)
            if first is None:
                raise UnknownAccessError(f"parameter {access.parameter} is read or written at unknown places: {fixed}")
            box += [first, extent]
        boxes.setdefault(0 if event is None else seen.block_of(event), []).append(tuple(box))
    if any(len(set(found)) != len(found) for found in boxes.values()):
        raise _several_times(access)
    elements = sum(math.prod(box[1::2]) for found in boxes.values() for box in found)
    return bytes_of(elements, element_bits), boxes


def _spans(access: Access) -> list[tuple[Any, int]]:
    """By axis where an access begins, apart from its loops, and how many elements next to one another these cover."""
    unused = [var for var, _ in access.loops]
    spans = []
    for place in access.indices:
        steps, start = linear(place, [var for var, _ in access.loops])
        if steps is None:
            raise UnknownAccessError(f"parameter {access.parameter} is read or written at unknown places: {place}")
        if not all(any(var.same_as(other) for other in unused) for var in steps):
            raise _several_times(access)
        unused = [other for other in unused if not any(other.same_as(var) for var in steps)]
        spans.append((simplified(start), _covered(access, steps)))
    if unused:
        raise _several_times(access)
    return spans


def _covered(access: Access, steps: dict[Any, int]) -> int:
    """The elements that loops cover without a gap and each once: every loop takes steps of the size of those inside."""
    covered = 1
    extents = {var: extent for var, extent in access.loops if var in steps}
    for var in sorted(steps, key=lambda var: (steps[var], extents[var])):
        if extents[var] > 1 and steps[var] != covered:
            raise _several_times(access)
        covered *= extents[var]
    return covered


def _several_times(access: Access) -> UnknownAccessError:
    return UnknownAccessError(f"parameter {access.parameter} is read or written at one place several times")
