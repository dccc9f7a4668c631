"""CStatements: the body of a lowered PrimFunc as text that is C99, and CUDA C++ as well."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Iterator, Mapping
from typing import Any

from tvm import sym, tirx
from tvm.ir import Range
from tvm.ir.expr import TensorLoad, Var

from tvm_fusion.passes.lowering.expressions import as_int, parts
from tvm_fusion.passes.sources.c_expressions import C_TYPES, CExpressions, bare, c_dtype, unknown

_LOOPS = (tirx.ForKind.SERIAL, tirx.ForKind.PARALLEL, tirx.ForKind.VECTORIZED, tirx.ForKind.UNROLLED)
# What C, C++, CUDA, their headers and this printer have taken.
_WORDS = (
    "auto bool break case char const continue default do double else enum extern false float for goto if inline int "
    "long main register restrict return short signed sizeof static struct switch true typedef union unsigned void "
    "volatile while acos asin atan ceil cos cosh erf exp exp2 fabs floor fma fmod gamma hypot j0 j1 jn lane log memcpy "
    "pow rint round sin sinh sqrt tan tanh trunc y0 y1 yn "
    "alignas alignof and and_eq asm bitand bitor catch class compl concept const_cast consteval constexpr constinit "
    "decltype delete dynamic_cast explicit export friend mutable namespace new noexcept not not_eq nullptr operator or "
    "or_eq private protected public reinterpret_cast requires static_assert static_cast template this thread_local "
    "throw try typeid typename using virtual wchar_t xor xor_eq blockDim blockIdx gridDim stream threadIdx warpSize "
    "workspace"
)
_TAKEN = frozenset(_WORDS.split())


class CStatements:
    """Prints ``function``'s body; ``statics`` are the buffers that are to be static arrays, in their order.

    A buffer of one scope of ``static_scopes`` is such an array, unless it is one element outside ``kept_scope``; every
    other one is a local variable. ``largest`` gives the largest element of a parameter that is a known table,
    ``values`` what a parameter can be that is a whole number. ``touched`` are the buffers that are read or written,
    ``used`` the variables that are read.
    """

    def __init__(
        self,
        function: Any,
        static_scopes: Container[str],
        kept_scope: str,
        largest: Mapping[Any, list[int]],
        values: Mapping[Any, range] | None = None,
    ) -> None:
        self.expressions = CExpressions(self._load, self._low)
        self.statics: list[Any] = []
        self.written: set[Any] = set()
        self.touched: set[Any] = set()
        self.lines: list[str] = []
        self._taken = set(_TAKEN)
        self._analyzer = sym.Analyzer()
        self._static_scopes, self._kept_scope, self._largest = static_scopes, kept_scope, largest
        self._depth = 1
        for param in function.params:
            self.name(param)
        for var, possible in (values or {}).items():
            self._analyzer.bind(var, Range(possible.start, possible.stop))
        self.used = {part for expr in _expressions(function.body) for part in parts(expr) if isinstance(part, Var)}
        self._stmt(function.body)

    def name(self, var: Any) -> str:
        """The C name of a variable or buffer, new to this function."""
        base = re.sub(r"\W", "_", str(var.name)) or "v"
        base = f"v{base}" if base[0].isdigit() else base
        name, number = base, 1
        while name in self._taken:
            name, number = f"{base}_{number}", number + 1
        self._taken.add(name)
        self.expressions.names[var] = name
        return name

    def _stmt(self, stmt: Any) -> None:
        if isinstance(stmt, tirx.SeqStmt):
            for child in stmt.seq:
                self._stmt(child)
        elif isinstance(stmt, tirx.For):
            self._loop(stmt)
        elif isinstance(stmt, tirx.IfThenElse):
            self._branch(stmt)
        elif isinstance(stmt, tirx.BufferStore):
            self._store(stmt)
        elif isinstance(stmt, tirx.Bind):
            self._bind(stmt)
        elif isinstance(stmt, tirx.AllocBuffer):
            self._allocate(stmt.buffer)
        elif not (isinstance(stmt, tirx.Evaluate) and as_int(stmt.value) is not None):
            raise unknown(f"the statement {type(stmt).__name__}")

    def _line(self, text: str) -> None:
        self.lines.append("  " * self._depth + text)

    def _block(self, head: str, body: Any) -> None:
        self._line(head)
        self._depth += 1
        self._stmt(body)
        self._depth -= 1

    def _loop(self, stmt: Any) -> None:
        low, extent = as_int(stmt.min), as_int(stmt.extent)
        if stmt.kind not in _LOOPS or as_int(stmt.step) not in (None, 1):
            raise unknown(f"the loop {stmt.loop_var.name!r}, which is bound to threads or leaves numbers out")
        if low is None or extent is None:
            raise unknown(f"the loop {stmt.loop_var.name!r}, whose length is not known")
        self._analyzer.bind(stmt.loop_var, Range.from_min_extent(stmt.min, stmt.extent))
        if extent == 1:
            self.expressions.names[stmt.loop_var] = str(low)
            self._stmt(stmt.body)
            return
        name = self.name(stmt.loop_var)
        kind = C_TYPES[c_dtype(stmt.loop_var)]
        self._block(f"for ({kind} {name} = {low}; {name} < {low + extent}; ++{name}) {{", stmt.body)
        self._line("}")
        self._taken.discard(name)

    def _branch(self, stmt: Any) -> None:
        self._block(f"if ({bare(self.expressions.text(stmt.condition))}) {{", stmt.then_case)
        if stmt.else_case is not None:
            self._block("} else {", stmt.else_case)
        self._line("}")

    def _store(self, stmt: Any) -> None:
        lanes = max(int(str(expr.ty).partition("x")[2] or 1) for expr in (*stmt.indices, stmt.value))
        if lanes > 1:  # element after element: it must not read what it has written
            self.expressions.lane = "lane"
            self._line(f"for (int lane = 0; lane < {lanes}; ++lane) {{")
            self._depth += 1
        self.written.add(stmt.buffer)
        at = self._load(stmt.buffer, list(stmt.indices))
        self._line(f"{at} = {bare(self.expressions.text(stmt.value))};")
        if lanes > 1:
            self.expressions.lane = None
            self._depth -= 1
            self._line("}")

    def _bind(self, stmt: Any) -> None:
        inner = getattr(stmt.value, "value", stmt.value)
        if isinstance(inner, TensorLoad) and inner.source in self._largest:
            column = as_int(inner.indices[-1])
            largest = self._largest[inner.source][column] if column is not None else None
            if largest is not None:
                self._analyzer.bind(stmt.var, Range(0, largest + 1))
        text = bare(self.expressions.text(stmt.value))
        if stmt.var in self.used:
            kind = C_TYPES[c_dtype(stmt.var)]
            self._line(f"const {kind} {self.name(stmt.var)} = {text};")

    def _allocate(self, buffer: Any) -> None:
        name = self.name(buffer)
        elements = buffer_elements(buffer)
        scope = buffer.scope()
        if scope == self._kept_scope or (scope in self._static_scopes and elements > 1):
            self.statics.append(buffer)
        else:
            self._line(f"{C_TYPES[c_dtype(buffer)]} {name}[{elements}] = {{0}};")

    def _load(self, buffer: Any, indices: list[Any]) -> str:
        if buffer not in self.expressions.names:
            raise unknown(f"buffer {buffer.name!r}, which is neither a parameter nor allocated")
        if len(getattr(buffer, "strides", ())) or as_int(getattr(buffer, "elem_offset", None)) not in (0, None):
            raise unknown(f"buffer {buffer.name!r}, whose elements do not lie one after another")
        self.touched.add(buffer)
        shape = [int(size) for size in buffer.shape]
        terms = []
        for axis, place in enumerate(indices):
            step = math.prod(shape[axis + 1 :])
            place = place if self.expressions.lane else self._analyzer.simplify(place)
            if as_int(place) != 0 and shape[axis] > 1:
                text = self.expressions.text(place)
                terms.append(f"{text} * {step}" if step > 1 else bare(text))
        return f"{self.expressions.names[buffer]}[{' + '.join(terms) or '0'}]"

    def _low(self, expr: Any) -> int | None:
        return int(self._analyzer.const_int_bound(expr).min_value)


def buffer_elements(buffer: Any) -> int:
    """Elements of a buffer."""
    return math.prod(int(size) for size in buffer.shape)


def _expressions(stmt: Any) -> Iterator[Any]:
    """Every expression of a statement."""
    for name in ("value", "condition"):
        if hasattr(stmt, name):
            yield getattr(stmt, name)
    yield from getattr(stmt, "indices", ())
    inner = (getattr(stmt, name, None) for name in ("body", "then_case", "else_case"))
    for child in (*getattr(stmt, "seq", ()), *inner):
        if child is not None:
            yield from _expressions(child)
