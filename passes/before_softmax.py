"""before_softmax: a network that ends where its last softmax starts, so that saturated probabilities hide nothing."""

from __future__ import annotations

from typing import Any

from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes.extract import extract
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, main_function, op_name

_SATURATING = ("nn.softmax", "nn.log_softmax", "sigmoid")
_VIEWS = ("reshape", "squeeze", "expand_dims", "flatten", "permute_dims")


def before_softmax(mod: IRModule, plan: PartitionPlan) -> tuple[IRModule, PartitionPlan] | None:
    """``mod`` without the softmax (or sigmoid) that makes its only output, and ``plan`` without that operator.

    None if the output is made by anything else. Random weights make logits far apart, of which a softmax leaves
    nothing but a one and zeros: equal outputs would say nothing.
    """
    function = main_function(mod)
    values = {binding.var: binding.value for binding in bindings(function)}
    made = _source(function.body.body, values)
    if op_name(made) not in _SATURATING or made.args[0] not in values:
        return None
    builder = relax.BlockBuilder()
    params = [relax.Var(param.name, param.ty) for param in function.params]
    known: dict[Any, Any] = dict(zip(function.params, params, strict=True))
    with builder.function("main", params):
        with builder.dataflow():
            for binding in bindings(function):
                known[binding.var] = builder.emit(substitute(binding.value, known), name_hint=binding.var.name)
            result = builder.emit_output(known[made.args[0]])
        builder.emit_func_output(result)
    shorter = IRModule({var: func for var, func in mod.functions.items() if var.name_hint != "main"})
    shorter["main"] = builder.get()["main"]
    shorter = relax.transform.DeadCodeElimination(["main"])(shorter)
    names = [operator.name for operator in extract(mod).graph.operators]
    home = {names[i]: group for group, found in enumerate(plan.groups) for i in found.operators}
    graph = extract(shorter).graph
    masks = [0] * len(plan.groups)
    for operator in graph.operators:
        if operator.name not in home:
            return None
        masks[home[operator.name]] |= 1 << operator.id
    parts = [part for mask in masks if mask for part in graph.components(mask)]
    return shorter, PartitionPlan.from_masks(graph, parts)


def _source(value: Any, values: dict[Any, Any]) -> Any:
    """The call that made a value, seen through other names, tuples of one and reshapes."""
    while True:
        if isinstance(value, relax.Var) and value in values:
            value = values[value]
        elif isinstance(value, relax.Tuple) and len(value.fields) == 1:
            value = value.fields[0]
        elif op_name(value) in _VIEWS:
            value = value.args[0]
        else:
            return value
