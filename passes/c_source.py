"""c_source: one lowered group as a C99 file that needs nothing but the C library."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tvm.ir import IRModule

from tvm_fusion.passes.attributes import ACCUMULATOR_BYTES, MEMORY_MAP
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE
from tvm_fusion.passes.sources.c_expressions import C_TYPES, c_dtype
from tvm_fusion.passes.sources.c_statements import CStatements, buffer_elements
from tvm_fusion.passes.sources.group_source import GroupSource

_SRAM, _ACCUMULATOR, _WEIGHT = "TVM_FUSION_SRAM", "TVM_FUSION_ACCUMULATOR", "TVM_FUSION_WEIGHT"


@dataclass(frozen=True)
class CSource:
    """``text`` is a C99 file that defines ``prototype`` (without its semicolon)."""

    name: str
    prototype: str
    text: str

    @property
    def declarations(self) -> str:
        """What a header has of it."""
        return f"{self.prototype};"


def c_source(mod: IRModule, name: str, weights: str = "arguments", scope: str = DEFAULT_SCOPE) -> CSource:
    """The group function ``name`` of a module that LowerLineBuffer made, with buffers on chip in ``scope``, as C99.

    The function takes pointers: inputs, weights, results, in the order of the PrimFunc; its row program is a constant
    table. ``weights="arrays"`` makes constant arrays of the weights instead of arguments. What lies on chip is one
    static array each, declared with TVM_FUSION_SRAM, which the user defines (a section, a storage class); sums are
    declared with TVM_FUSION_ACCUMULATOR, constant arrays with TVM_FUSION_WEIGHT.

    Raises CompileError if ``name`` is no lowered group or holds what C99 cannot express, MemoryMismatchError if its
    memory is not what the cost model says.
    """
    return _Group(mod, name, weights, scope).source()


class _Group(GroupSource):
    def __init__(self, mod: IRModule, name: str, weights: str, scope: str) -> None:
        super().__init__(mod, name, weights, scope)
        self.body = CStatements(self.function, (scope, ACCUMULATOR_SCOPE), scope, self.largest)
        self.names = self.body.expressions.names

    def source(self) -> CSource:
        """The whole file."""
        params = ", ".join(self.pointer(p, p in self.body.written, "restrict") for p in self.arguments())
        prototype = f"void {self.name}({params})"
        lines = [
            *self._header(),
            *self._preamble(),
            *self.tables("static", f"static {_WEIGHT}"),
            *self._buffers(),
            f"{prototype} {{",
            *self.body.lines,
            "}",
        ]
        return CSource(self.name, prototype, "\n".join(lines) + "\n")

    def _header(self) -> Iterator[str]:
        yield f"/* {self.name}: a fusion group that executes row by row with line buffers, written by tvm-fusion."
        yield " *"
        yield " * Tensors are row-major arrays in DRAM. Not reentrant: its buffers are static."
        yield from self.tensors()
        yield f" * On chip: {self.buffer_bytes} bytes of line buffers and weights ({_SRAM}),"
        yield f" *   {int(self.attributes[ACCUMULATOR_BYTES])} bytes of sums ({_ACCUMULATOR} or local variables)."
        yield f" * From and to DRAM: {self.dram_bytes} bytes."
        yield " * Memory map (address, bytes, what):"
        for name, address, size in self.attributes[MEMORY_MAP]:
            yield f" *   0x{int(address):06x} {int(size):8d} {name}"
        yield " */"

    def _preamble(self) -> Iterator[str]:
        yield from ("#include <math.h>", "#include <stdbool.h>", "#include <stdint.h>", "#include <string.h>", "")
        for macro, what in (
            (_SRAM, "line buffers and weights on chip"),
            (_ACCUMULATOR, "sums"),
            (_WEIGHT, "constant arrays"),
        ):
            yield f"#ifndef {macro} /* storage of {what}: a section, for example */"
            yield f"#define {macro}"
            yield "#endif"
        yield ""
        yield from (f"static inline {helper}" for helper in self.body.expressions.helpers.values())

    def _buffers(self) -> Iterator[str]:
        for buffer in self.body.statics:
            macro = _SRAM if buffer.scope() == self.scope else _ACCUMULATOR
            yield f"static {macro} {C_TYPES[c_dtype(buffer)]} {self.names[buffer]}[{buffer_elements(buffer)}];"
        yield ""
