"""LowerLineBuffer: every LBDF group becomes one PrimFunc that keeps only line buffers on chip."""

from __future__ import annotations

import re
import warnings
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.attributes import (
    BUFFER_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    IR_THREADS,
    SCHEME,
    group_functions,
)
from tvm_fusion.passes.lowering.dram import rows_shape
from tvm_fusion.passes.lowering.group import Group, group_calls, read_group
from tvm_fusion.passes.lowering.group_writer import GroupWriter, LoweredGroup
from tvm_fusion.passes.lowering.layer_function import LayerFunction
from tvm_fusion.passes.lowering.line_buffer_writer import line_buffer_writer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning, NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction, operator_functions
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE, REGISTER_SCOPE
from tvm_fusion.passes.lowering.row_layouts import row_layouts
from tvm_fusion.passes.lowering.vectors import PORTABLE_VECTOR_BYTES, Vectors
from tvm_fusion.passes.relax_tools import constant, main_function
from tvm_fusion.passes.replace_groups import replace_groups

LBDF = "lbdf"
_WRITERS = (LBDF, "layer")
_SCOPE = re.compile(r"(global|shared|local)(\.\w+)*")


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerLineBuffer")
class LowerLineBuffer:
    """Group functions with the scheme "lbdf" as PrimFuncs that make one row at a time, in the order of LBDF.

    Line buffers, with the line counts of the cost model, and weights are in buffers of ``scope``, sums that an
    operator adds up in scope "global.accumulator"; inputs are read and outputs written once. Each PrimFunc keeps the
    group's attributes and takes one more argument, the order of its rows. A group with an operator that does not go row
    by row stays as it is, with a LoweringWarning that names the operator and the reason.

    With several ``threads`` those share the rows of a group where that pays, each with line buffers of its own (see
    :mod:`tvm_fusion.cost_models.row_blocks`); a layer alone is shared where it is large.

    Raises CompileError for a scope that is none of TVM's, and for ``threads`` below 1.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None, threads: int = 1) -> None:
        taken = (ACCUMULATOR_SCOPE, REGISTER_SCOPE)
        if not _SCOPE.fullmatch(scope) or scope in taken:
            raise CompileError(
                f"scope {scope!r} is not allowed; give global or shared, or global, shared or local with a tag such as "
                f"{DEFAULT_SCOPE!r}; {' and '.join(map(repr, taken))} are taken"
            )
        if threads < 1:
            raise CompileError(f"threads {threads} is not allowed; it must be a whole number from 1")
        self.scope = scope
        self.vector_bytes = vector_bytes
        self.threads = threads

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        options = LoweringOptions(self.scope, Vectors(self.vector_bytes or _vector_bytes()), self.threads)
        lowering = _Lowering(mod, options)
        return lowering.module() if lowering.lowered else mod


def _vector_bytes() -> int:
    """Bytes of a vector register of the target in whose scope the pass runs."""
    target = tvm.target.Target.current(allow_none=True)
    if target is None or target.kind.name != "llvm":
        return PORTABLE_VECTOR_BYTES
    return max(PORTABLE_VECTOR_BYTES, int(tvm.target.codegen.llvm_get_vector_width(target)) // 8)


class _Lowering:
    """Group functions of a module that go row by row, each lowered."""

    def __init__(self, mod: IRModule, options: LoweringOptions) -> None:
        self.mod = mod
        self.attributes = group_functions(mod)
        self.main = main_function(mod)
        self.calls = group_calls(mod, self.attributes, _WRITERS)
        self.groups = self._groups()
        self.writers = self._writers(options)
        self.by_rows: dict[str, set[int]] = {}
        self.lowered = self._written()

    def _scheme(self, name: str) -> str:
        return str(self.attributes[name].get(SCHEME))

    def _groups(self) -> dict[str, Group]:
        found = {}
        for name, call in self.calls.items():
            try:
                found[name] = read_group(self.mod, name, self.attributes[name], list(call.args))
            except NotLowered as reason:
                self._refuse(name, reason)
        return found

    def _writers(self, options: LoweringOptions) -> dict[str, GroupWriter]:
        functions = operator_functions(list(self.groups.values()))
        found: dict[str, GroupWriter] = {}
        for name, group in self.groups.items():
            shapes = [_shape(ty) for ty in _result_types(self.calls[name])]
            try:
                own = {i: _found(functions[name, i]) for i in range(len(group.graph))}
                if self._scheme(name) == LBDF:
                    found[name] = line_buffer_writer(group, own, shapes, options)
                else:
                    kept_bytes = int(self.attributes[name][BUFFER_BYTES]) // 2
                    found[name] = LayerFunction(group, own, shapes, options, kept_bytes)
            except NotLowered as reason:
                self._refuse(name, reason)
        return found

    def _written(self) -> dict[str, LoweredGroup]:
        """Again from the start when a group is refused, as its neighbours must not leave it tensors by rows."""
        while True:
            self.by_rows = row_layouts(self.main, {name: self.groups[name] for name in self.writers})
            found, refused = {}, []
            for name, writer in self.writers.items():
                try:
                    found[name] = writer.written(self.by_rows[name])
                except NotLowered as reason:
                    self._refuse(name, reason)
                    refused.append(name)
            if not refused:
                return found
            for name in refused:
                del self.writers[name]

    def _refuse(self, name: str, reason: NotLowered) -> None:
        if self._scheme(name) == LBDF:  # a layer alone keeps no rows either way
            warnings.warn(LoweringWarning(name, str(reason)), stacklevel=5)

    def module(self) -> IRModule:
        """The module with the lowered functions, which main calls by call_tir."""
        functions = {}
        for name, found in self.lowered.items():
            attributes = dict(self.attributes[name])
            if found.cost is not None:
                attributes |= {IR_BUFFER_BYTES: found.cost.buffer_bytes, IR_DRAM_BYTES: found.cost.dram_bytes}
            if found.threads > 1:
                attributes[IR_THREADS] = found.threads
            functions[name] = found.function.with_attrs(attributes)
        return replace_groups(self.mod, functions, self._call)

    def _call(self, name: str, target: Any, old: Any, arguments: list[Any]) -> Any:
        found, group = self.lowered[name], self.groups[name]
        packed = {k: constant(array) for k, array in found.packed.items()}
        arguments = [packed.get(k, argument) for k, argument in enumerate(arguments)]
        if found.program is not None:
            arguments.append(constant(found.program))
        types = [
            relax.TensorType(rows_shape(group.graph.tensor(i)), str(ty.dtype)) if i in self.by_rows[name] else ty
            for i, ty in zip(group.results, _result_types(old), strict=True)
        ]
        return relax.call_tir(target, arguments, types if len(types) > 1 else types[0])


def _found(function: OperatorFunction | NotLowered) -> OperatorFunction:
    if isinstance(function, NotLowered):
        raise function
    return function


def _result_types(call: Any) -> list[Any]:
    return list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]


def _shape(ty: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in ty.shape)
