"""band_accesses: what a PrimFunc that executes in bands allocates and touches, and in which step, by its TIR alone."""

from __future__ import annotations

import math
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir.expr import TensorLoad, Var
from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, decides, deciding_operands, linear
from tvm_fusion.passes.lowering.evaluated import evaluated
from tvm_fusion.passes.lowering.expressions import as_int, chooses, operands, parts, substituted, uses
from tvm_fusion.passes.lowering.statements import expressions, statements
from tvm_fusion.passes.relax_tools import Array

_MOST_PLACES = 1 << 18
# Places along an axis, each of them once.
Places = range | Array
# What loop variables are at some moment.
Values = dict[Any, int]
Conditions = tuple[tuple[Any, bool], ...]


@dataclass(frozen=True)
class Touch:
    """A load or store of ``buffer``, inside loops of (variable, extent), where each of ``conditions`` is true or false.

    ``section`` is the loop over lines of the program (or the phase) that it is in, None before the first, ``step``
    which of the statements there, one after another. ``source``: of a store that copies an element the buffer of that.
    """

    buffer: Any
    written: bool
    indices: tuple[Any, ...]
    loops: tuple[tuple[Any, Any], ...]
    conditions: Conditions
    section: int | None
    step: int
    source: Any = None


@dataclass(frozen=True)
class Section:
    """A loop of ``count`` passes over the first lines of the program, inside ``outer`` loops (images)."""

    line: Any
    count: int
    outer: tuple[tuple[Any, int], ...]

    def passes(self) -> Iterator[Values]:
        """The variables outside of the steps, pass after pass."""
        ranges = [range(extent) for _, extent in (*self.outer, (self.line, self.count))]
        for values in product(*ranges):
            yield dict(zip([*(var for var, _ in self.outer), self.line], values, strict=True))


@dataclass
class BandAccesses:
    """``buffers`` are the allocations, ``touches`` all loads and stores but those of the program; ``weights`` those of
    the parameters that are."""

    program: Array
    table: Any
    weights: frozenset[Any] = frozenset()
    buffers: list[Any] = field(default_factory=list)
    touches: list[Touch] = field(default_factory=list)
    sections: list[Section] = field(default_factory=list)

    def places(self, touch: Touch, at: Values) -> list[Places] | None:
        """By axis the places that an access touches at a pass, every one once; None if it is not executed.

        Raises UnknownAccessError for places that are not known, or touched several times.
        """
        extents = {var: self.number(extent, at) for var, extent in touch.loops if var not in at}
        if 0 in extents.values():
            return None
        left = {var: extent for var, extent in extents.items() if extent > 1}
        found = []
        for place in touch.indices:
            steps, start = self._linear(touch, place, list(extents))
            loops = [(step, left.pop(var)) for var, step in steps.items() if var in left]
            if len(loops) < sum(extents[var] > 1 for var in steps):
                raise self._several_times(touch)  # one loop moves along two axes
            axis = _sums(self.number(start, at), loops)
            if axis is None:
                raise self._several_times(touch)
            found.append(axis)
        if left:
            raise self._several_times(touch)
        return found

    def rows(self, touch: Touch, at: Values) -> Array | None:
        """The places along the first axis that an access may touch at a pass; None if they are not known.

        Raises UnknownAccessError if there are places that the buffer does not have, or rows of which several are stored
        at one place.
        """
        place = touch.indices[0]
        extents = {var: self.number(extent, at) for var, extent in touch.loops if var not in at}
        if 0 in extents.values():
            return np.zeros(0, np.int64)
        known = [
            (condition, wanted) for condition, wanted in touch.conditions if self._is_known(condition, extents, at)
        ]
        if not self._is_known(place, extents, at):
            return None
        terms = [place, *(condition for condition, _ in known)]
        variables = [var for var in extents if any(uses(term, var) for term in terms)]
        if math.prod(extents[var] for var in variables) > _MOST_PLACES:
            return None
        grid = np.meshgrid(*(np.arange(extents[var]) for var in variables), indexing="ij", sparse=True)
        values = {**at, **dict(zip(variables, grid, strict=True))}
        shape = tuple(extents[var] for var in variables)
        there = np.ones(shape, bool)
        for condition, wanted in known:
            there &= np.broadcast_to(evaluated(condition, values, self._read), shape) == wanted
        found = np.unique(np.broadcast_to(evaluated(place, values, self._read), shape)[there])
        lines = int(touch.buffer.shape[0])
        if len(found) and not 0 <= found[0] <= found[-1] < lines:
            raise UnknownAccessError(f"{touch.buffer.name!r} is read or written outside of its {lines} rows")
        if touch.written and isinstance(place, prim.FloorMod):
            rows = np.unique(np.broadcast_to(evaluated(place.a, values, self._read), shape)[there])
            if len(rows) > len(found):
                raise UnknownAccessError(f"{touch.buffer.name!r} has {lines} rows for {len(rows)} at a time")
        return found

    def _is_known(self, term: Any, extents: Values, at: Values) -> bool:
        """Whether a term depends on nothing but loops and the program."""
        try:
            evaluated(term, {**at, **dict.fromkeys(extents, 0)}, self._read)
        except UnknownAccessError:
            return False
        return True

    def number(self, expr: Any, at: Values) -> int:
        """The value of an expression of numbers of the program. Raises UnknownAccessError for any other."""
        return int(evaluated(expr, at, self._read))

    def _read(self, buffer: Any, indices: list[Any]) -> int:
        """A number of the program."""
        if buffer.same_as(self.table):
            line, column = indices
            if 0 <= line < self.program.shape[0] and 0 <= column < self.program.shape[1]:
                return int(self.program[line, column])
        raise UnknownAccessError(
            f"it has an extent or a place that is not known before it runs: one in {buffer.name!r}"
        )

    def _linear(self, touch: Touch, place: Any, variables: list[Any]) -> tuple[dict[Any, int], Any]:
        steps, start = linear(place, variables)
        if steps is None:
            raise UnknownAccessError(f"{touch.buffer.name!r} is read or written at unknown places: {place}")
        return {var: step for var, step in steps.items() if step}, start

    @staticmethod
    def _several_times(touch: Touch) -> UnknownAccessError:
        return UnknownAccessError(f"parameter {touch.buffer.name!r} is read or written at one place several times")


def band_accesses(
    function: Any, program: Array, table: int, weights: Container[int] = (), phases: bool = False
) -> BandAccesses:
    """All allocations and accesses of ``function``, in which loops go over the lines of ``program``, or with ``phases``
    loops of one pass are phases, one after another.

    The program is parameter ``table``. Of the parameters that are ``weights`` a single number is an immediate operand
    and left out. Raises UnknownAccessError where it cannot tell what is executed how often.
    """
    return _Walk(function, program, table, weights, phases).result


class _Walk:
    def __init__(self, function: Any, program: Array, table: int, weights: Container[int], phases: bool) -> None:
        self.phases = phases
        params = list(function.params)
        shape = tuple(int(size) for size in params[table].shape) if table < len(params) else ()
        if shape != program.shape or np.dtype(str(params[table].dtype)) != program.dtype:
            raise UnknownAccessError("it has no parameter for the rows of its bands")
        own = frozenset(param for k, param in enumerate(params) if k in weights)
        self.result = BandAccesses(program, params[table], own)
        self.names = {param: param.name for param in params}
        single = (k for k, param in enumerate(params) if k in weights and math.prod(map(int, param.shape)) == 1)
        self.ignored = {params[table], *(params[k] for k in single)}
        self.counted = set(params) - self.ignored
        self.values: dict[Any, Any] = {}  # of bound variables
        self.conditions: Conditions = ()
        self.section: int | None = None
        self.step = 0
        self._stmt(function.body, ())

    def _stmt(self, stmt: Any, loops: tuple[tuple[Any, Any], ...]) -> None:
        if isinstance(stmt, tirx.SeqStmt):
            for child in stmt.seq:
                self._stmt(child, loops)
        elif isinstance(stmt, tirx.AllocBuffer):
            self.result.buffers.append(stmt.buffer)
        elif isinstance(stmt, tirx.Bind):
            self.values[stmt.var] = substituted(stmt.value, self.values)
        elif isinstance(stmt, tirx.For):
            self._loop(stmt, loops)
        elif isinstance(stmt, tirx.IfThenElse):
            self._branch(stmt, loops)
        elif isinstance(stmt, tirx.Evaluate):
            self._expr(stmt.value, loops)
        elif isinstance(stmt, tirx.BufferStore):
            for expr in (*stmt.indices, stmt.value):
                self._expr(expr, loops)
            source = stmt.value.source if isinstance(stmt.value, TensorLoad) else None
            self._touch(stmt.buffer, stmt.indices, True, loops, (), source)
        else:
            raise UnknownAccessError(f"it has a statement {type(stmt).__name__}")

    def _loop(self, stmt: Any, loops: tuple[tuple[Any, Any], ...]) -> None:
        if as_int(stmt.min) != 0:
            raise UnknownAccessError(f"loop {stmt.loop_var.name!r} does not begin with 0")
        if not self._goes_over_lines(stmt):
            self._stmt(stmt.body, (*loops, (stmt.loop_var, substituted(stmt.extent, self.values))))
            return
        counts = [as_int(extent) for _, extent in (*loops, (None, stmt.extent))]
        if self.section is not None or None in counts:
            raise UnknownAccessError(
                f"loop {stmt.loop_var.name!r} over bands is inside another one or of unknown length"
            )
        outer = tuple((var, int(extent)) for var, extent in loops)
        self.result.sections.append(Section(stmt.loop_var, int(stmt.extent), outer))
        self.section = len(self.result.sections) - 1
        for self.step, child in enumerate(_flat(stmt.body)):
            self._stmt(child, loops)
        self.section, self.step = None, 0

    def _goes_over_lines(self, loop: Any) -> bool:
        if self.phases:
            return self.section is None and as_int(loop.extent) == 1
        return any(
            part.indices[0].same_as(loop.loop_var)
            for inner in statements(loop.body)
            for expr in (*expressions(inner), *([inner.extent] if isinstance(inner, tirx.For) else []))
            for part in parts(expr)
            if isinstance(part, TensorLoad) and part.source.same_as(self.result.table)
        )

    def _branch(self, stmt: Any, loops: tuple[tuple[Any, Any], ...]) -> None:
        inside = list(statements(stmt))
        moves = any(isinstance(inner, tirx.BufferStore) and inner.buffer in self.counted for inner in inside)
        if moves or any(self._reads(expr) for inner in inside for expr in expressions(inner)):
            raise UnknownAccessError(f"it has a condition that is not known before it runs: {stmt.condition}")
        outside = self.conditions
        for child, wanted in ((stmt.then_case, True), (stmt.else_case, False)):
            if child is not None:
                self.conditions = (*outside, (substituted(stmt.condition, self.values), wanted))
                self._stmt(child, loops)
        self.conditions = outside

    def _expr(self, expr: Any, loops: tuple[tuple[Any, Any], ...], inside: Conditions = ()) -> None:
        """``inside``: what holds within the expression."""
        if decides(expr) and any(self._reads(inner) for inner in deciding_operands(expr)[1:]):
            raise UnknownAccessError(f"it has a condition that is not known before it runs: {expr}")
        if isinstance(expr, TensorLoad):
            self._touch(expr.source, expr.indices, False, loops, inside)
        elif isinstance(expr, Var) and expr in self.names:
            raise UnknownAccessError(f"parameter {self.names[expr]!r} is handed on as an address")
        if chooses(expr):
            condition, chosen, other = expr.args
            self._expr(condition, loops, inside)
            condition = substituted(condition, self.values)
            self._expr(chosen, loops, (*inside, (condition, True)))
            self._expr(other, loops, (*inside, (condition, False)))
        else:
            for part in operands(expr):
                self._expr(part, loops, inside)

    def _reads(self, expr: Any) -> bool:
        return any(isinstance(part, TensorLoad) and part.source in self.counted for part in parts(expr))

    def _touch(
        self,
        buffer: Any,
        indices: Any,
        written: bool,
        loops: tuple[tuple[Any, Any], ...],
        inside: Conditions,
        source: Any = None,
    ) -> None:
        if buffer not in self.ignored:
            places = tuple(substituted(i, self.values) for i in indices)
            conditions = (*self.conditions, *inside)
            touch = Touch(buffer, written, places, loops, conditions, self.section, self.step, source)
            self.result.touches.append(touch)


def _sums(start: int, loops: list[tuple[int, int]]) -> Places | None:
    """``start`` and the sums of multiples of steps, for loops of (step, extent); None if one comes several times.

    A range where they leave no gap, which says so of millions of places at once.
    """
    ordered = sorted(loops, key=lambda loop: abs(loop[0]))
    covered = 1
    for step, extent in ordered:
        if step != covered:
            break
        covered *= extent
    else:
        return range(start, start + covered)
    offsets, reach = np.array([start]), 0
    apart = True
    for step, extent in ordered:
        apart &= abs(step) > reach
        reach += abs(step) * (extent - 1)
        offsets = np.add.outer(offsets, step * np.arange(extent)).reshape(-1)
    return offsets if apart or len(np.unique(offsets)) == len(offsets) else None


def _flat(stmt: Any) -> list[Any]:
    """The statements of a sequence, those of sequences inside it as well."""
    return [inner for child in stmt.seq for inner in _flat(child)] if isinstance(stmt, tirx.SeqStmt) else [stmt]
