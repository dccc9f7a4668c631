"""operator_functions: TVM's own TIR of every operator, one PrimFunc each, as the start of a lowering by rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.passes.fuse_groups import operands_of, substitute
from tvm_fusion.passes.lowering.group import Bound, Group
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.primitive import fusable, marked


@dataclass(frozen=True)
class OperatorFunction:
    """``function``'s parameters are ``operands`` (variables and tensor constants of the group), then the result."""

    function: Any
    operands: tuple[Any, ...]


def operator_functions(groups: Sequence[Group]) -> dict[tuple[str, int], OperatorFunction | NotLowered]:
    """A PrimFunc of every operator by group name and operator, or why TVM makes none; all in one run of its passes."""
    builder = relax.BlockBuilder()
    operands: dict[tuple[str, int], tuple[Any, ...]] = {}
    names, kinds = {}, {}
    for group in groups:
        for i, bound in enumerate(group.bindings):
            name = f"{group.name}_operator_{i}"
            function, operands[group.name, i] = _function(name, bound)
            names[group.name, i] = builder.add_func(function, name).name_hint
            kinds[group.name, i] = group.graph.operators[i]
    found = _lowered(_with_main(builder.get()), list(names.values()))
    result: dict[tuple[str, int], OperatorFunction | NotLowered] = {}
    for key, name in names.items():
        refused = NotLowered(kinds[key].name, f"TVM makes no single TIR function of {kinds[key].type}")
        result[key] = OperatorFunction(found[name], operands[key]) if name in found else refused
    return result


def _function(name: str, bound: Bound) -> tuple[Any, tuple[Any, ...]]:
    """One operator as a private Relax function with all tensors as parameters."""
    made = {var for var, _ in bound}
    params: dict[Any, Any] = {}
    for _, value in bound:
        for operand in operands_of(value):
            if operand not in made and operand not in params:
                params[operand] = relax.Var(f"operand_{len(params)}", operand.ty)
    values = dict(params)
    builder = relax.BlockBuilder()
    with builder.function(name, list(params.values()), private=True):
        with builder.dataflow():
            for var, value in bound:
                values[var] = builder.emit(substitute(value, values))
            result = builder.emit_output(values[bound[-1][0]])
        builder.emit_func_output(result)
    return builder.get()[name], tuple(params)


def _with_main(mod: IRModule) -> IRModule:
    """A main that calls every function: TVM fuses what is called."""
    builder = relax.BlockBuilder(mod)
    functions = [(var, function) for var, function in mod.functions.items() if isinstance(function, relax.Function)]
    arguments = [[relax.Var(f"{var.name_hint}_{p.name}", p.ty) for p in function.params] for var, function in functions]
    with builder.function("main", [argument for part in arguments for argument in part]):
        with builder.dataflow():
            results = [
                builder.emit_output(builder.emit(relax.Call(var, part)))
                for (var, _), part in zip(functions, arguments, strict=True)
            ]
        builder.emit_func_output(relax.Tuple(results))
    return builder.get()


def _lowered(mod: IRModule, names: list[str]) -> dict[str, Any]:
    legal = relax.transform.LegalizeOps()(mod)
    chosen = fusable(legal, names)
    fused = relax.transform.FuseTIR()(relax.transform.AnnotateTIROpPattern()(marked(legal, chosen)))
    return {name: fused[name] for name in chosen}
