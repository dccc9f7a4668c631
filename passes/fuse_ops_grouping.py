"""The grouping that TVM's own FuseOps makes of a network, as a partition plan to compare with."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tvm import relax
from tvm.ir import GlobalVar, IRModule

from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.graph.plan import PartitionPlan, group_order
from tvm_fusion.passes.extract import extract
from tvm_fusion.passes.relax_tools import bindings, main_function


def fuse_ops_grouping(mod: IRModule) -> PartitionPlan:
    """Which operators FuseOps puts together, whatever the buffer.

    An operator of several bindings counts where its first binding went. Parts that share no edge count
    as groups of their own.
    """
    extraction = extract(mod)
    legal = relax.transform.AnnotateTIROpPattern()(relax.transform.LegalizeOps()(extraction.module))
    fused = relax.transform.FuseOps()(legal)
    home = _homes(legal, fused)
    masks: dict[str, int] = defaultdict(int)
    for operator, names in enumerate(extraction.bindings):
        masks[home.get(names[0], names[0])] |= 1 << operator
    graph = extraction.graph
    parts = [part for mask in masks.values() for part in graph.components(mask)]
    return PartitionPlan.from_masks(graph, _acyclic(graph, parts), algorithm="fuse-ops")


def _homes(legal: IRModule, fused: IRModule) -> dict[str, str]:
    """For names of legalised variables, the name of the fused call that computes them.

    FuseOps renames variables, so a call is known by its callee and what it reads.
    """
    waiting: dict[Any, list[Any]] = defaultdict(list)
    for binding in bindings(main_function(legal)):
        waiting[_key(binding.value, {})].append(binding.var)
    found: dict[str, str] = {}

    def match(value: Any, known: dict[Any, Any], home: str | None) -> Any:
        queue = waiting.get(_key(value, known))
        if not queue:
            return value
        var = queue.pop(0) if len(queue) > 1 else queue[0]
        if home is not None:
            found[var.name] = home
        return var

    known: dict[Any, Any] = dict(zip(fused["main"].params, legal["main"].params, strict=True))
    for binding in bindings(main_function(fused)):
        callee = getattr(binding.value, "op", None)
        if not isinstance(callee, GlobalVar):
            known[binding.var] = match(binding.value, known, None)
            continue
        inner = fused[callee]
        local = dict(zip(inner.params, [known.get(arg, arg) for arg in binding.value.args], strict=True))
        for step in bindings(inner):
            local[step.var] = match(step.value, local, f"call of {binding.var.name}")  # functions are shared
        result = inner.body.body
        known[binding.var] = local.get(result, result)
    return found


def _key(value: Any, known: dict[Any, Any]) -> Any:
    """What a binding computes: its operator, and its operands with ``known`` in place of their variables."""
    if isinstance(value, relax.Call):
        return ("call", str(value.op), *(_key(arg, known) for arg in value.args))
    if isinstance(value, relax.Tuple):
        return ("tuple", *(_key(part, known) for part in value.fields))
    if isinstance(value, relax.TupleGetItem):
        return ("item", _key(value.tuple_value, known), value.index)
    return known.get(value, value)


def _acyclic(graph: OperatorGraph, parts: list[int]) -> list[int]:
    """``parts``, those on a cycle taken apart into single operators."""
    if group_order(graph, parts) is not None:
        return parts
    kept: list[int] = []
    for k, part in enumerate(parts):
        rest = [1 << i for other in parts[k + 1 :] for i in members(other)]
        whole = group_order(graph, [*kept, part, *rest]) is not None
        kept += [part] if whole else [1 << i for i in members(part)]
    return kept
