"""VerifyPlan: whether a module really is grouped as a plan says."""

from __future__ import annotations

from collections import Counter
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule
from tvm.ir import GlobalVar

from tvm_fusion.errors import PlanError
from tvm_fusion.graph.plan import PartitionPlan, check_plan
from tvm_fusion.passes.attributes import OPERATORS, group_functions
from tvm_fusion.passes.extract import extract
from tvm_fusion.passes.fuse_by_plan import check_network
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, main_function

_SEPARATOR = "__in__"


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.VerifyPlan")
class VerifyPlan:
    """Raise PlanError unless the module is grouped as ``plan`` says; the module comes back as it is.

    While the groups are Relax functions, they are inlined and the operators that come out are compared
    with the plan, so a wrong attribute or a moved operator is found. After FuseTIR, when TIR holds
    them, their attributes and calls are compared.
    """

    def __init__(self, plan: PartitionPlan) -> None:
        self.plan = plan

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """``mod`` itself."""
        groups = group_functions(mod)
        _check_attributes(groups, self.plan)
        _check_calls(mod, groups)
        if all(isinstance(mod[name], relax.Function) for name in groups):
            _check_operators(mod, groups, self.plan)
        return mod


def _check_attributes(groups: dict[str, dict[str, Any]], plan: PartitionPlan) -> None:
    claimed = {name: _claimed(attributes) for name, attributes in groups.items()}
    if len(claimed) != len(plan.groups):
        raise PlanError(f"the module has {len(claimed)} group functions; the plan has {len(plan.groups)} groups")
    wanted = {group.operators for group in plan.groups}
    for name, operators in claimed.items():
        if operators not in wanted:
            raise PlanError(f"function {name!r} says that it holds operators {operators}; no group of the plan does")


def _claimed(attributes: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(operator) for operator in attributes.get(OPERATORS, ()))


def _check_calls(mod: IRModule, groups: dict[str, dict[str, Any]]) -> None:
    """Main calls every group exactly once."""
    calls = Counter(name for b in bindings(main_function(mod)) if (name := _callee(b.value)) in groups)
    for name in groups:
        if calls[name] != 1:
            raise PlanError(f"main calls group function {name!r} {calls[name]} times; it must once")


def _callee(value: Any) -> str | None:
    """Name of the function of the module that a binding calls, directly or by call_tir."""
    if not isinstance(value, relax.Call):
        return None
    called = [value.op, *value.args[:1]]
    return next((str(callee.name_hint) for callee in called if isinstance(callee, GlobalVar)), None)


def _check_operators(mod: IRModule, groups: dict[str, dict[str, Any]], plan: PartitionPlan) -> None:
    extraction = extract(_inlined(mod, groups))
    check_network(plan, extraction.graph)
    check_plan(extraction.graph, plan)
    for operator, names in zip(extraction.graph.operators, extraction.bindings, strict=True):
        homes = {name.partition(_SEPARATOR)[0] if _SEPARATOR in name else "main" for name in names}
        if len(homes) > 1 or homes == {"main"}:
            places = " and ".join(sorted(homes))
            raise PlanError(f"operator {operator.id} ({operator.type}) stands in {places}, not in one group function")
        home = homes.pop()
        if operator.id not in _claimed(groups[home]):
            raise PlanError(f"operator {operator.id} ({operator.type}) stands in {home!r}, where the plan has it not")


def _inlined(mod: IRModule, groups: dict[str, dict[str, Any]]) -> IRModule:
    """One main without calls of groups; names of variables say which group they come from."""
    function = main_function(mod)
    builder = relax.BlockBuilder()
    params = [relax.Var(param.name, param.ty) for param in function.params]
    values: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params):
        with builder.dataflow():
            for binding in bindings(function):
                name = _callee(binding.value)
                if name not in groups:
                    values[binding.var] = _bound(builder, substitute(binding.value, values), binding.var.name)
                    continue
                inner = mod[name]
                arguments = [substitute(argument, values) for argument in binding.value.args]
                local: dict[Any, Any] = dict(zip(inner.params, arguments, strict=True))
                for step in bindings(inner):
                    value = substitute(step.value, local)
                    local[step.var] = _bound(builder, value, f"{name}{_SEPARATOR}{step.var.name}")
                values[binding.var] = substitute(inner.body.body, local)
            result = builder.emit_output(substitute(function.body.body, values))
        builder.emit_func_output(result)
    return builder.get()


def _bound(builder: Any, value: Any, name: str) -> Any:
    """A variable for ``value``; what only names or packs variables needs none."""
    if isinstance(value, relax.TupleGetItem) and isinstance(value.tuple_value, relax.Tuple):
        return value.tuple_value.fields[value.index]
    if isinstance(value, relax.Var | relax.Tuple):
        return value
    return builder.emit(value, name_hint=name)
