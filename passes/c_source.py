"""c_source: one lowered group as a C99 file that needs nothing but the C library."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir import IRModule

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    MEMORY_MAP,
    OPERANDS,
    WEIGHT,
    group_functions,
)
from tvm_fusion.passes.c_expressions import C_TYPES, bare, c_dtype, constant
from tvm_fusion.passes.c_statements import CStatements, buffer_elements
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE
from tvm_fusion.passes.relax_tools import (
    Array,
    bindings,
    callee_name,
    constant_array,
    is_constant,
    main_function,
    op_name,
)
from tvm_fusion.passes.verify_memory import VerifyMemory

WEIGHTS = ("arguments", "arrays")
_SRAM, _ACCUMULATOR, _WEIGHT = "TVM_FUSION_SRAM", "TVM_FUSION_ACCUMULATOR", "TVM_FUSION_WEIGHT"


@dataclass(frozen=True)
class CSource:
    """``text`` is a C99 file that defines ``prototype`` (without its semicolon)."""

    name: str
    prototype: str
    text: str


def c_source(mod: IRModule, name: str, weights: str = "arguments", scope: str = DEFAULT_SCOPE) -> CSource:
    """The group function ``name`` of a module that LowerLineBuffer made, with buffers on chip in ``scope``, as C99.

    The function takes pointers: inputs, weights, results, in the order of the PrimFunc; its row program is a constant
    table. ``weights="arrays"`` makes constant arrays of the weights instead of arguments. What lies on chip is one
    static array each, declared with TVM_FUSION_SRAM, which the user defines (a section, a storage class); sums are
    declared with TVM_FUSION_ACCUMULATOR, constant arrays with TVM_FUSION_WEIGHT.

    Raises CompileError if ``name`` is no lowered group or holds what C99 cannot express, MemoryMismatchError if its
    memory is not what the cost model says.
    """
    if weights not in WEIGHTS:
        raise CompileError(f"weights {weights!r} is not allowed; allowed: {', '.join(WEIGHTS)}")
    groups = lowered_groups(mod)
    if name not in groups:
        found = ", ".join(groups) or "none"
        raise CompileError(f"function {name!r} is no group that LowerLineBuffer lowered; the module has: {found}")
    if any(MEMORY_MAP not in attributes for attributes in groups.values()):
        verify: Any = VerifyMemory(scope)
        mod = verify(mod)
    return _Group(mod, name, weights == "arrays", scope).source()


def lowered_groups(mod: IRModule) -> dict[str, dict[str, Any]]:
    """Attributes of the groups that are PrimFuncs with line buffers, by name."""
    groups = group_functions(mod).items()
    return {n: found for n, found in groups if IR_BUFFER_BYTES in found and isinstance(mod[n], tirx.PrimFunc)}


class _Group:
    def __init__(self, mod: IRModule, name: str, weights_inside: bool, scope: str) -> None:
        self.name = name
        self.attributes = group_functions(mod)[name]
        self.function = _narrowed(mod[name])
        params = list(self.function.params)
        operands = [int(operand) for operand in self.attributes[OPERANDS]]
        arguments = _arguments(mod, name)
        self.program = constant_array(arguments[-1])
        self.table = params[len(operands)]
        self.constants: dict[Any, Array] = {}
        if weights_inside:
            weights = [k for k, operand in enumerate(operands) if operand == WEIGHT]
            self.constants = {params[k]: constant_array(arguments[k]) for k in weights}
        self.roles = {p: "weight" if i == WEIGHT else "input" for p, i in zip(params, operands, strict=False)}
        self.roles |= dict.fromkeys(params[len(operands) + 1 :], "result")
        largest = {self.table: [int(column.max()) for column in self.program.T]}
        self.body = CStatements(self.function, (scope, ACCUMULATOR_SCOPE), scope, largest)
        self.scope = scope

    def source(self) -> CSource:
        """The whole file."""
        prototype = self._prototype()
        lines = [
            *self._header(),
            *self._preamble(),
            *self._tables(),
            *self._buffers(),
            f"{prototype} {{",
            *self.body.lines,
            "}",
        ]
        return CSource(self.name, prototype, "\n".join(lines) + "\n")

    def _named(self, buffer: Any) -> str:
        return self.body.expressions.names[buffer]

    def _arguments(self) -> list[Any]:
        """Parameters that stay parameters."""
        return [p for p in self.function.params if not p.same_as(self.table) and p not in self.constants]

    def _prototype(self) -> str:
        params = [
            f"{'' if p in self.body.written else 'const '}{C_TYPES[c_dtype(p)]} *restrict {self._named(p)}"
            for p in self._arguments()
        ]
        return f"void {self.name}({', '.join(params)})"

    def _header(self) -> Iterator[str]:
        yield f"/* {self.name}: a fusion group that executes row by row with line buffers, written by tvm-fusion."
        yield " *"
        yield " * Tensors are row-major arrays in DRAM. Not reentrant: its buffers are static."
        for p in self._arguments():
            shape = " x ".join(str(int(size)) for size in p.shape) or "1"
            yield f" *   {self._named(p)}: {self.roles[p]}, {shape}, {c_dtype(p)}"
        on_chip, moved = int(self.attributes[IR_BUFFER_BYTES]), int(self.attributes[IR_DRAM_BYTES])
        yield f" * On chip: {on_chip} bytes of line buffers and weights ({_SRAM}),"
        yield f" *   {int(self.attributes[ACCUMULATOR_BYTES])} bytes of sums ({_ACCUMULATOR} or local variables)."
        yield f" * From and to DRAM: {moved} bytes."
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
        yield from self.body.expressions.helpers.values()

    def _tables(self) -> Iterator[str]:
        dtype = np.min_scalar_type(int(self.program.max(initial=0)))
        events = [f"{tensor}, {row}" for tensor, row in self.program.tolist()]
        yield "/* Which tensor's row is made or loaded next, and which row of it. */"
        yield f"static const {dtype}_t {self._named(self.table)}[{self.program.size}] = {{"
        yield from _wrapped(events)
        yield "};"
        for param, values in self.constants.items():
            kind = c_dtype(param)
            yield f"static {_WEIGHT} const {C_TYPES[kind]} {self._named(param)}[{max(1, values.size)}] = {{"
            yield from _wrapped([bare(constant(value, kind)) for value in values.reshape(-1).tolist()])
            yield "};"

    def _buffers(self) -> Iterator[str]:
        for buffer in self.body.statics:
            macro = _SRAM if buffer.scope() == self.scope else _ACCUMULATOR
            yield f"static {macro} {C_TYPES[c_dtype(buffer)]} {self._named(buffer)}[{buffer_elements(buffer)}];"
        yield ""


def _narrowed(function: Any) -> Any:
    """``function`` with 32-bit indices where TVM can tell that they suffice: small processors have no others."""
    largest = max(math.prod(int(size) for size in param.shape) for param in function.params)
    if largest >= 2**31:
        return function
    try:
        return tirx.transform.ForceNarrowIndexToInt32()(IRModule({"f": function}))["f"]
    except Exception:  # TVM raises many kinds: a 64-bit element, for one
        return function


def _arguments(mod: IRModule, name: str) -> list[Any]:
    """What main passes to a group function by call_tir."""
    for binding in bindings(main_function(mod)):
        if callee_name(binding.value) == name and op_name(binding.value) == "call_tir":
            found = list(binding.value.args[1].fields)
            if is_constant(found[-1]):
                return found
    raise CompileError(f"{name}: main does not call it with its row program")


def _wrapped(numbers: list[str]) -> Iterator[str]:
    text = ", ".join(numbers)
    yield from textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False)
