"""Group: one group function read back as an operator graph of its own, with its bindings and weights."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.graph.graph import OperatorGraph, demand_order
from tvm_fusion.passes.attributes import BATCH, BINDING_OPERATORS, NO_ROWS, OPERANDS, ROW_AXES, SCHEME, WEIGHT
from tvm_fusion.passes.extract import Reading, leaves, read_operators
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.relax_tools import bindings, callee_name, is_constant, main_function

Bound = tuple[tuple[Any, Any], ...]


@dataclass(frozen=True)
class Group:
    """A group with operators 0 .. n-1, and its outside tensors as inputs in the order of the network's graph.

    Position k of ``parameters`` (as the group function has them) is the outside tensor ``operands[k]`` of ``graph``, or
    a weight (None). ``bindings[i]``: the (variable, value) pairs that operator i computes. ``weights`` gives the
    position of the parameter that each tensor constant of the values stands for, ``operand_of`` the operand of every
    variable, ``results`` the operator of each result of the function. ``function`` is the group function with weights
    as constants and ``graph``'s inputs as parameters.
    """

    name: str
    function: Any
    graph: OperatorGraph
    parameters: tuple[Any, ...]
    operands: tuple[int | None, ...]
    bindings: tuple[Bound, ...]
    weights: dict[Any, int]
    operand_of: dict[Any, int]
    results: tuple[int, ...]

    @property
    def everything(self) -> int:
        """Mask of all operators."""
        return (1 << len(self.graph)) - 1


def group_calls(
    mod: IRModule, attributes: dict[str, dict[str, Any]], schemes: Collection[str] = ("lbdf",)
) -> dict[str, Any]:
    """The call of main to each group of these schemes that is a Relax function still and knows what it holds."""
    groups = {
        name
        for name, found in attributes.items()
        if str(found.get(SCHEME)) in schemes and BINDING_OPERATORS in found and isinstance(mod[name], relax.Function)
    }
    named = [(callee_name(binding.value), binding.value) for binding in bindings(main_function(mod))]
    return {name: call for name, call in named if name in groups}


def read_group(mod: IRModule, name: str, attributes: dict[str, Any], arguments: Sequence[Any]) -> Group:
    """The group function ``name``, which main calls with ``arguments``.

    Raises NotLowered if it reads one tensor as two shapes, or if it groups into other operators than in the network.
    """
    function = mod[name]
    ids = [int(i) for i in attributes[OPERANDS]]
    axes = [int(axis) for axis in attributes[ROW_AXES]]
    order = sorted((k for k, i in enumerate(ids) if i != WEIGHT), key=lambda k: demand_order(ids[k]))
    if len({ids[k] for k in order}) != len(order):
        raise NotLowered("", "it reads one tensor as two shapes")
    inputs = [function.params[k] for k in order]
    local, values = _with_constants(function, inputs, arguments, [k for k, i in enumerate(ids) if i == WEIGHT])
    input_axes = {values[function.params[k]]: None if axes[k] == NO_ROWS else axes[k] for k in order}
    program = list(bindings(local))
    results = leaves(local.body.body, {binding.var: binding.value for binding in program})
    reading = read_operators(name, local.params, program, results, int(attributes[BATCH]), input_axes)
    _check_operators(reading, program, [int(i) for i in attributes[BINDING_OPERATORS]])
    value_of = {binding.var: binding.value for binding in program}
    place = {k: -(n + 1) for n, k in enumerate(order)}
    return Group(
        name=name,
        function=local,
        graph=reading.graph,
        parameters=tuple(function.params),
        operands=tuple(place.get(k) for k in range(len(ids))),
        bindings=tuple(tuple((var, value_of[var]) for var in members) for members in reading.members),
        weights={arguments[k]: k for k, i in enumerate(ids) if i == WEIGHT},
        operand_of=reading.operand,
        results=tuple(reading.operand[var] for var in results),
    )


def _with_constants(function: Any, inputs: list[Any], arguments: Sequence[Any], weights: list[int]) -> Any:
    """The function with weights as constants and ``inputs`` as its parameters; and what stands for its variables."""
    builder = relax.BlockBuilder()
    params = [relax.Var(param.name, param.ty) for param in inputs]
    values: dict[Any, Any] = dict(zip(inputs, params, strict=True))
    for k in weights:
        if not is_constant(arguments[k]):
            raise NotLowered("", f"its weight {function.params[k].name!r} is no constant")
        values[function.params[k]] = arguments[k]
    with builder.function("main", params):
        with builder.dataflow():
            for binding in bindings(function):
                value = substitute(binding.value, values)
                values[binding.var] = builder.emit(value, name_hint=binding.var.name)
            result = builder.emit_output(substitute(function.body.body, values))
        builder.emit_func_output(result)
    return builder.get()["main"], values


def _check_operators(reading: Reading, program: list[Any], expected: list[int]) -> None:
    """Cut off from the network, bindings might join into other operators; then nothing known of the group holds."""
    names = {id_: k for k, id_ in enumerate(sorted(set(expected)))}
    owner = {var: i for parts in (reading.members, reading.views) for i, bound in enumerate(parts) for var in bound}
    found = [owner.get(binding.var) for binding in program[: len(expected)]]
    if found != [names[id_] for id_ in expected]:
        raise NotLowered("", "alone it falls into other operators than within the network")
