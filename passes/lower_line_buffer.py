"""LowerLineBuffer: every LBDF group becomes one PrimFunc that keeps only line buffers on chip."""

from __future__ import annotations

import re
import warnings
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.attributes import BINDING_OPERATORS, IR_BUFFER_BYTES, IR_DRAM_BYTES, SCHEME, group_functions
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.lowering.group import Group, read_group
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning, NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction, operator_functions
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE
from tvm_fusion.passes.lowering.row_function import RowFunction, row_function
from tvm_fusion.passes.relax_tools import bindings, callee_name, constant, main_function

_SCOPE = re.compile(r"(global|shared|local)(\.\w+)*")


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerLineBuffer")
class LowerLineBuffer:
    """Group functions with the scheme "lbdf" as PrimFuncs that make one row at a time, in the order of LBDF.

    Line buffers, with the line counts of the cost model, and weights are in buffers of ``scope``, sums that an
    operator adds up in scope "global.accumulator"; inputs are read and outputs written once. Each PrimFunc keeps the
    group's attributes and takes one more argument, the order of its rows. A group with an operator that does not go row
    by row stays as it is, with a LoweringWarning that names the operator and the reason.

    Raises CompileError for a scope that is none of TVM's.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE) -> None:
        if not _SCOPE.fullmatch(scope) or scope == ACCUMULATOR_SCOPE:
            raise CompileError(
                f"scope {scope!r} is not allowed; give global, shared or local, or one of these with a tag such as "
                f"{DEFAULT_SCOPE!r}; {ACCUMULATOR_SCOPE!r} is taken"
            )
        self.scope = scope

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        attributes = group_functions(mod)
        lowered = _lowered(mod, attributes, self.scope)
        return _module(mod, attributes, lowered) if lowered else mod


def _calls(mod: IRModule, attributes: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The call of main to each LBDF group that is a Relax function still."""
    groups = {
        name
        for name, found in attributes.items()
        if str(found.get(SCHEME)) == "lbdf" and BINDING_OPERATORS in found and isinstance(mod[name], relax.Function)
    }
    named = [(callee_name(binding.value), binding.value) for binding in bindings(main_function(mod))]
    return {name: call for name, call in named if name in groups}


def _lowered(mod: IRModule, attributes: dict[str, dict[str, Any]], scope: str) -> dict[str, RowFunction]:
    calls = _calls(mod, attributes)
    groups: dict[str, Group] = {}
    for name, call in calls.items():
        try:
            groups[name] = read_group(mod, name, attributes[name], list(call.args))
        except NotLowered as reason:
            _warn(name, reason)
    functions = operator_functions(list(groups.values()))
    found = {}
    for name, group in groups.items():
        try:
            own = {i: _found(functions[name, i]) for i in range(len(group.graph))}
            found[name] = row_function(group, own, _result_shapes(calls[name]), scope)
        except NotLowered as reason:
            _warn(name, reason)
    return found


def _found(function: OperatorFunction | NotLowered) -> OperatorFunction:
    if isinstance(function, NotLowered):
        raise function
    return function


def _warn(name: str, reason: NotLowered) -> None:
    warnings.warn(LoweringWarning(name, str(reason)), stacklevel=3)


def _result_types(call: Any) -> list[Any]:
    return list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]


def _result_shapes(call: Any) -> list[tuple[int, ...]]:
    return [tuple(int(size) for size in ty.shape) for ty in _result_types(call)]


def _module(mod: IRModule, attributes: dict[str, dict[str, Any]], lowered: dict[str, RowFunction]) -> IRModule:
    """``mod`` with the lowered functions, which main calls by call_tir."""
    function = main_function(mod)
    # A GlobalVar carries the type of its function: lowered ones get a new one.
    others = {var: func for var, func in mod.functions.items() if var.name_hint not in {"main", *lowered}}
    builder = relax.BlockBuilder(IRModule(others, attrs=mod.attrs, global_infos=mod.global_infos))
    targets = {}
    for name, found in lowered.items():
        costs = {IR_BUFFER_BYTES: found.cost.buffer_bytes, IR_DRAM_BYTES: found.cost.dram_bytes}
        targets[name] = builder.add_func(found.function.with_attrs(attributes[name] | costs), name)
    params = [relax.Var(param.name, param.ty) for param in function.params]
    values: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params, attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for binding in bindings(function):
                value = substitute(binding.value, values)
                callee = callee_name(value)
                if callee in lowered:
                    table = constant(lowered[callee].program)
                    types = _result_types(binding.value)
                    out = types if len(types) > 1 else types[0]
                    value = relax.call_tir(targets[callee], [*value.args, table], out)
                values[binding.var] = builder.emit(value, name_hint=binding.var.name)
            output = builder.emit_output(substitute(function.body.body, values))
        builder.emit_func_output(output)
    return builder.get()
