"""GroupSource: what the C and the CUDA source of a lowered group have in common."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from typing import Any

import numpy as np
from tvm import tirx
from tvm.ir import IRModule

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.attributes import (
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    MEMORY_MAP,
    OPERANDS,
    SCHEME,
    WEIGHT,
    group_functions,
)
from tvm_fusion.passes.lowering.scheme_writers import SCHEME_WRITERS
from tvm_fusion.passes.relax_tools import (
    Array,
    bindings,
    callee_name,
    constant_array,
    is_constant,
    main_function,
    op_name,
)
from tvm_fusion.passes.sources.c_expressions import C_TYPES, bare, c_dtype, constant
from tvm_fusion.passes.verify_memory import VerifyMemory

WEIGHTS = ("arguments", "arrays")
_PRINTED = frozenset(name for name, writer in SCHEME_WRITERS.items() if writer.as_sources)


class GroupSource:
    """A group that LowerLineBuffer lowered, its memory verified, and the parts of a file that do not depend on the
    language.

    ``names`` are those of parameters in the text, for whoever prints the code to fill in. Raises CompileError if
    ``name`` is no lowered group or ``weights`` none of WEIGHTS, MemoryMismatchError if its memory is not what the cost
    model says.
    """

    def __init__(self, mod: IRModule, name: str, weights: str, scope: str) -> None:
        if weights not in WEIGHTS:
            raise CompileError(f"weights {weights!r} is not allowed; allowed: {', '.join(WEIGHTS)}")
        groups = lowered_groups(mod)
        if name not in groups:
            found = ", ".join(groups) or "none"
            raise CompileError(f"function {name!r} is no group that LowerLineBuffer lowered; the module has: {found}")
        if any(MEMORY_MAP not in attributes for attributes in groups.values()):
            verify: Any = VerifyMemory(scope)
            mod = verify(mod)
        self.name = name
        self.scope = scope
        self.attributes = group_functions(mod)[name]
        self.function = _narrowed(mod[name])
        self.names: dict[Any, str] = {}
        params = list(self.function.params)
        operands = [int(operand) for operand in self.attributes[OPERANDS]]
        arguments = _arguments(mod, name)
        self.program = constant_array(arguments[-1])
        self.table = params[len(operands)]
        self.constants: dict[Any, Array] = {}
        if weights == "arrays":
            inside = [k for k, operand in enumerate(operands) if operand == WEIGHT]
            self.constants = {params[k]: constant_array(arguments[k]) for k in inside}
        self.roles = {p: "weight" if i == WEIGHT else "input" for p, i in zip(params, operands, strict=False)}
        self.roles |= dict.fromkeys(params[len(operands) + 1 :], "result")
        self.largest = {self.table: [int(column.max()) for column in self.program.T]}

    def arguments(self) -> list[Any]:
        """Parameters that stay parameters."""
        return [p for p in self.function.params if not p.same_as(self.table) and p not in self.constants]

    def pointer(self, param: Any, written: bool, restrict: str = "") -> str:
        """How a parameter that is a tensor is declared."""
        qualified = f"{restrict} " if restrict else ""
        return f"{'' if written else 'const '}{C_TYPES[c_dtype(param)]} *{qualified}{self.names[param]}"

    def tensors(self) -> Iterator[str]:
        """Lines of a comment: what the arguments are."""
        for p in self.arguments():
            shape = " x ".join(str(int(size)) for size in p.shape) or "1"
            yield f" *   {self.names[p]}: {self.roles[p]}, {shape}, {c_dtype(p)}"

    @property
    def buffer_bytes(self) -> int:
        """What the group holds on chip, by its TIR and the cost model."""
        return int(self.attributes[IR_BUFFER_BYTES])

    @property
    def dram_bytes(self) -> int:
        """What it moves, likewise."""
        return int(self.attributes[IR_DRAM_BYTES])

    def tables(self, program_storage: str, weight_storage: str) -> Iterator[str]:
        """The row program, and the weights that are no arguments."""
        dtype = np.min_scalar_type(int(self.program.max(initial=0)))
        events = [f"{tensor}, {row}" for tensor, row in self.program.tolist()]
        yield "/* Which tensor's row is made or loaded next, and which row of it. */"
        yield f"{program_storage} const {dtype}_t {self.names[self.table]}[{self.program.size}] = {{"
        yield from _wrapped(events)
        yield "};"
        for param, values in self.constants.items():
            kind = c_dtype(param)
            size = max(1, values.size)
            yield f"{weight_storage} const {C_TYPES[kind]} {self.names[param]}[{size}] = {{"
            yield from _wrapped([bare(constant(value, kind)) for value in values.reshape(-1).tolist()])
            yield "};"


def lowered_groups(mod: IRModule) -> dict[str, dict[str, Any]]:
    """Attributes of the groups that are PrimFuncs with line buffers, by name."""
    groups = group_functions(mod).items()
    return {
        n: found
        for n, found in groups
        if IR_BUFFER_BYTES in found and str(found[SCHEME]) in _PRINTED and isinstance(mod[n], tirx.PrimFunc)
    }


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
