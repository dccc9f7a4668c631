"""LowerLineBuffer: every LBDF group becomes one PrimFunc that keeps only line buffers on chip."""

from __future__ import annotations

import warnings
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.attributes import IR_BUFFER_BYTES, IR_DRAM_BYTES, group_functions
from tvm_fusion.passes.lowering.group import Group, group_calls, read_group
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning, NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction, operator_functions
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.row_function import RowFunction, row_function
from tvm_fusion.passes.relax_tools import constant
from tvm_fusion.passes.replace_groups import replace_groups


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerLineBuffer")
class LowerLineBuffer:
    """Group functions with the scheme "lbdf" as PrimFuncs that make one row at a time, in the order of LBDF.

    Line buffers, with the line counts of the cost model, and weights are in buffers of ``scope``, sums that an
    operator adds up in scope "global.accumulator"; inputs are read and outputs written once. Each PrimFunc keeps the
    group's attributes and takes one more argument, the order of its rows. A group with an operator that does not go row
    by row stays as it is, with a LoweringWarning that names the operator and the reason.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE) -> None:
        self.scope = scope

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        attributes = group_functions(mod)
        lowered = _lowered(mod, attributes, self.scope)
        return _module(mod, attributes, lowered) if lowered else mod


def _lowered(mod: IRModule, attributes: dict[str, dict[str, Any]], scope: str) -> dict[str, RowFunction]:
    calls = group_calls(mod, attributes)
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
    warnings.warn(f"{name} is left to TVM's own lowering: {reason}", LoweringWarning, stacklevel=3)


def _result_types(call: Any) -> list[Any]:
    return list(call.ty.fields) if isinstance(call.ty, relax.TupleType) else [call.ty]


def _result_shapes(call: Any) -> list[tuple[int, ...]]:
    return [tuple(int(size) for size in ty.shape) for ty in _result_types(call)]


def _module(mod: IRModule, attributes: dict[str, dict[str, Any]], lowered: dict[str, RowFunction]) -> IRModule:
    """``mod`` with the lowered functions, which main calls by call_tir."""
    functions = {}
    for name, found in lowered.items():
        costs = {IR_BUFFER_BYTES: found.cost.buffer_bytes, IR_DRAM_BYTES: found.cost.dram_bytes}
        functions[name] = found.function.with_attrs(attributes[name] | costs)

    def call(name: str, target: Any, old: Any, arguments: list[Any]) -> Any:
        types = _result_types(old)
        out = types if len(types) > 1 else types[0]
        return relax.call_tir(target, [*arguments, constant(lowered[name].program)], out)

    return replace_groups(mod, functions, call)
