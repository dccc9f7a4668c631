"""VerifyPlan: whether a module really is grouped as a plan says."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.errors import GraphError, PlanError
from tvm_fusion.graph.demand import RowDemand
from tvm_fusion.graph.graph import OperatorGraph, demand_order
from tvm_fusion.graph.operator import Operator
from tvm_fusion.graph.plan import PartitionPlan, check_plan
from tvm_fusion.passes.attributes import OPERATORS, group_functions
from tvm_fusion.passes.extract import Extraction, extract
from tvm_fusion.passes.fuse_by_plan import check_network
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, callee_name, main_function

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
        if list(claimed.values()).count(operators) > 1:
            raise PlanError(f"function {name!r} says that it holds operators {operators}; another one says so too")


def _claimed(attributes: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(operator) for operator in attributes.get(OPERATORS, ()))


def _check_calls(mod: IRModule, groups: dict[str, dict[str, Any]]) -> None:
    """Main calls every group exactly once."""
    calls = Counter(name for b in bindings(main_function(mod)) if (name := callee_name(b.value)) in groups)
    for name in groups:
        if calls[name] != 1:
            raise PlanError(f"main calls group function {name!r} {calls[name]} times; it must once")


def _check_operators(mod: IRModule, groups: dict[str, dict[str, Any]], plan: PartitionPlan) -> None:
    extraction = extract(_inlined(mod, groups))
    held = _held(extraction, groups)
    numbers: dict[int, int] = {}
    for name, attributes in groups.items():
        claimed = _claimed(attributes)
        if len(held[name]) != len(claimed):
            types = ", ".join(extraction.graph.operators[i].type for i in held[name])
            raise PlanError(
                f"function {name!r} holds {len(held[name])} operators ({types}); "
                f"it says that it holds {len(claimed)}: {claimed}"
            )
        numbers.update(zip(held[name], claimed, strict=True))
    try:
        graph = _renumbered(extraction.graph, numbers)
    except GraphError as error:
        raise PlanError(f"the functions do not hold the operators that they say they hold: {error}") from None
    check_network(plan, graph)
    check_plan(graph, plan)


def _held(extraction: Extraction, groups: dict[str, dict[str, Any]]) -> dict[str, list[int]]:
    """Operators of the inlined module by group function. Raises PlanError for one outside or in several."""
    # Another name for a value, as main may give to its result, is no work of its own.
    aliases = {b.var.name for b in bindings(main_function(extraction.module)) if isinstance(b.value, relax.Var)}
    held: dict[str, list[int]] = {name: [] for name in groups}
    for operator, names in zip(extraction.graph.operators, extraction.bindings, strict=True):
        working = [name for name in names if name not in aliases]
        homes = {name.partition(_SEPARATOR)[0] if _SEPARATOR in name else "main" for name in working}
        if len(homes) > 1 or homes == {"main"}:
            places = " and ".join(sorted(homes))
            raise PlanError(
                f"operator {operator.name!r} ({operator.type}) stands in {places}, not in one group function"
            )
        held[homes.pop()].append(operator.id)
    return held


def _renumbered(graph: OperatorGraph, numbers: dict[int, int]) -> OperatorGraph:
    """The graph with the ids that the plan knows: grouping may have moved independent operators past each other."""
    operators = []
    for operator in graph.operators:
        operands = [(numbers.get(operand, operand), demand) for operand, demand in _operands(operator)]
        operands.sort(key=lambda pair: demand_order(pair[0]))
        inputs, demands = tuple(pair[0] for pair in operands), tuple(pair[1] for pair in operands)
        operators.append(replace(operator, id=numbers[operator.id], inputs=inputs, demands=demands))
    operators.sort(key=lambda operator: operator.id)
    return replace(graph, operators=tuple(operators), outputs=tuple(numbers[output] for output in graph.outputs))


def _operands(operator: Operator) -> list[tuple[int, RowDemand]]:
    return list(zip(operator.inputs, operator.demands, strict=True))


def _inlined(mod: IRModule, groups: dict[str, dict[str, Any]]) -> IRModule:
    """One main without calls of groups; names of variables say which group they come from."""
    function = main_function(mod)
    builder = relax.BlockBuilder()
    params = [relax.Var(param.name, param.ty) for param in function.params]
    values: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params):
        with builder.dataflow():
            for binding in bindings(function):
                name = callee_name(binding.value)
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
