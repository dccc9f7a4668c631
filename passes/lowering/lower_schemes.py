"""lower_schemes: group functions of some schemes as PrimFuncs, and a main that calls them."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.attributes import (
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    IR_THREADS,
    SCHEME,
    group_functions,
)
from tvm_fusion.passes.lowering.dram import rows_shape
from tvm_fusion.passes.lowering.group import Group, group_calls, read_group
from tvm_fusion.passes.lowering.group_writer import GroupWriter, LoweredGroup
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning, NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction, operator_functions
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_layouts import row_layouts
from tvm_fusion.passes.lowering.scheme_writers import SCHEME_WRITERS, WriterInputs
from tvm_fusion.passes.relax_tools import constant, main_function
from tvm_fusion.passes.replace_groups import replace_groups


def lower_schemes(mod: IRModule, options: LoweringOptions, schemes: Collection[str]) -> IRModule:
    """``mod`` with the groups of ``schemes`` lowered, where they can be; ``mod`` itself if none is.

    Tensors between lowered groups lie in DRAM by rows, whatever their schemes. A group that stays as it is gets a
    LoweringWarning that names the operator and the reason.
    """
    lowering = _Lowering(mod, options, schemes)
    return lowering.module() if lowering.lowered else mod


class _Lowering:
    """Group functions of a module, each lowered."""

    def __init__(self, mod: IRModule, options: LoweringOptions, schemes: Collection[str]) -> None:
        self.mod = mod
        self.attributes = group_functions(mod)
        self.main = main_function(mod)
        self.calls = group_calls(mod, self.attributes, schemes)
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
            shapes = [_shape(ty) for ty in result_types(self.calls[name])]
            try:
                own = {i: _found(functions[name, i]) for i in range(len(group.graph))}
                inputs = WriterInputs(group, own, shapes, options, self.attributes[name])
                found[name] = SCHEME_WRITERS[self._scheme(name)].writer(inputs)
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
        if SCHEME_WRITERS[self._scheme(name)].on_chip:
            warnings.warn(LoweringWarning(name, str(reason)), stacklevel=6)

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
            for i, ty in zip(group.results, result_types(old), strict=True)
        ]
        return relax.call_tir(target, arguments, types if len(types) > 1 else types[0])


def _found(function: OperatorFunction | NotLowered) -> OperatorFunction:
    if isinstance(function, NotLowered):
        raise function
    return function


def result_types(call: Any) -> list[Any]:
    """The types of what a call returns, one or several."""
    return list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]


def _shape(ty: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in ty.shape)
