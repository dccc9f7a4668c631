"""Fuse groups: bindings of main moved into private functions, one for each group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.elementwise import is_elementwise
from tvm_fusion.passes.relax_tools import bindings, is_constant, main_function, variables

Describe = Callable[[Sequence[Any], Sequence[str]], dict[str, Any]]


@dataclass(frozen=True)
class GroupFunction:
    """Bindings (names of main's variables) that become one function with these attributes.

    ``describe`` gives more of them from the arguments (variables and constants of main) and the names of the bindings.
    """

    name: str
    bindings: frozenset[str]
    attributes: dict[str, Any] = field(default_factory=dict)
    describe: Describe = lambda _arguments, _bindings: {}


def fuse_groups(mod: IRModule, groups: Sequence[GroupFunction]) -> IRModule:
    """``mod`` with each group (given in topological order) as a private function that main calls.

    Tensor constants become parameters, because FuseTIR takes none inside a primitive function; several
    results become a tuple. ``mod`` stays as it is. Every binding of main but tuples of results must
    belong to exactly one group.
    """
    function = main_function(mod)
    program = list(bindings(function))
    owner = {name: k for k, group in enumerate(groups) for name in group.bindings}
    inside: list[list[Any]] = [[] for _ in groups]
    results = []
    for binding in program:
        if binding.var.name in owner:
            inside[owner[binding.var.name]].append(binding)
        else:
            results.append(binding)
    exported = _exported(function, program, owner)
    others = {var: func for var, func in mod.functions.items() if var.name_hint != "main"}
    builder = relax.BlockBuilder(IRModule(others, attrs=mod.attrs))
    called = []
    for group, members in zip(groups, inside, strict=True):
        outputs = [binding.var for binding in members if binding.var in exported]
        group_function, arguments = _group_function(group, members, outputs)
        called.append((builder.add_func(group_function, group.name), arguments, outputs))
    new_main = _main(function, called, results).with_attr("global_symbol", "main")
    module = builder.get()
    module["main"] = new_main
    return relax.transform.Normalize()(module)


def substitute(expr: Any, values: dict[Any, Any]) -> Any:
    """``expr`` with variables (and constants) replaced by ``values``."""
    if expr in values:
        return values[expr]
    if isinstance(expr, relax.Call):
        return relax.Call(expr.op, [substitute(arg, values) for arg in expr.args], expr.attrs, expr.ty_args)
    if isinstance(expr, relax.Tuple):
        return relax.Tuple([substitute(part, values) for part in expr.fields])
    if isinstance(expr, relax.TupleGetItem):
        return relax.TupleGetItem(substitute(expr.tuple_value, values), expr.index)
    return expr


def _exported(function: Any, program: Iterable[Any], owner: dict[str, int]) -> set[Any]:
    """Variables that are read outside their group."""
    found = set(variables(function.body.body))
    for binding in program:
        reader = owner.get(binding.var.name)
        found.update(var for var in variables(binding.value) if reader is None or owner.get(var.name) != reader)
    return found


def _group_function(group: GroupFunction, members: list[Any], outputs: list[Any]) -> tuple[Any, list[Any]]:
    """A private function of the bindings, and what main passes to it."""
    made = {binding.var for binding in members}
    arguments: dict[Any, Any] = {}
    for binding in members:
        for operand in operands_of(binding.value):
            if operand not in made and operand not in arguments:
                name = operand.name if isinstance(operand, relax.Var) else f"weight_{len(arguments)}"
                arguments[operand] = relax.Var(name, operand.ty)
    values = dict(arguments)
    inner = relax.BlockBuilder()
    attributes = group.attributes | group.describe(list(arguments), [binding.var.name for binding in members])
    with inner.function(group.name, list(arguments.values()), attrs=attributes, private=True):
        with inner.dataflow():
            for binding in members:
                value = substitute(binding.value, values)
                values[binding.var] = inner.emit(value, name_hint=binding.var.name)
            parts = [inner.emit_output(values[var], name_hint=f"{var.name}_out") for var in outputs]
        inner.emit_func_output(parts[0] if len(parts) == 1 else relax.Tuple(parts))
    return relax.utils.copy_with_new_vars(inner.get()[group.name]), list(arguments)


def operands_of(value: Any) -> list[Any]:
    """Variables and tensor constants of a binding's value; scalars of elementwise operators stay inside."""
    if isinstance(value, relax.Tuple):
        return [operand for part in value.fields for operand in operands_of(part)]
    if isinstance(value, relax.TupleGetItem):
        return operands_of(value.tuple_value)
    if isinstance(value, relax.Call):
        scalars_inside = is_elementwise(value)
        return [
            operand
            for arg in value.args
            for operand in operands_of(arg)
            if not (scalars_inside and is_constant(operand) and not len(operand.ty.shape))
        ]
    return [value] if isinstance(value, relax.Var) or is_constant(value) else []


def _main(function: Any, called: list[tuple[Any, list[Any], list[Any]]], results: list[Any]) -> Any:
    """The function that calls the groups one after another."""
    builder = relax.BlockBuilder()
    params = [relax.Var(param.name, param.ty) for param in function.params]
    values: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params, attrs=dict(function.attrs or {})):
        with builder.dataflow():
            for group, arguments, outputs in called:
                call = relax.Call(group, [substitute(argument, values) for argument in arguments])
                if len(outputs) == 1:
                    values[outputs[0]] = builder.emit(call, name_hint=outputs[0].name)
                    continue
                parts = builder.emit(call, name_hint=f"{group.name_hint}_results")
                for k, var in enumerate(outputs):
                    values[var] = builder.emit(relax.TupleGetItem(parts, k), name_hint=var.name)
            for binding in results:
                values[binding.var] = substitute(binding.value, values)
            result = builder.emit_output(substitute(function.body.body, values))
        builder.emit_func_output(result)
    return builder.get()["main"]
