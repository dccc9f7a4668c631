"""FuseByPlan: every group of a partition plan becomes one Relax function."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import Accelerator, accelerator_from_dict, load_accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import PlanError
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan, group_order
from tvm_fusion.passes.attributes import BATCH, BINDING_OPERATORS, NO_ROWS, OPERANDS, ROW_AXES, WEIGHT, group_attributes
from tvm_fusion.passes.extract import Extraction, extract
from tvm_fusion.passes.fuse_groups import GroupFunction, fuse_groups
from tvm_fusion.passes.primitive import mark_primitive
from tvm_fusion.passes.relax_tools import is_constant


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.FuseByPlan")
class FuseByPlan:
    """Group ``main`` by ``plan``: private functions ``fused_group_0`` .. in the order in which they execute.

    Each carries the attributes ``tvm_fusion.group``, ``.scheme``, ``.buffer_bytes``, ``.dram_bytes`` and
    ``.operators``, and ``Primitive`` where FuseTIR can make one PrimFunc of it. Bytes are those on
    ``accelerator``, by default the plan's own, else the preset "edge". The network is normalised first;
    results are unchanged but for rounding. Raises PlanError if the plan is not one of the module.
    """

    def __init__(self, plan: PartitionPlan, accelerator: Accelerator | None = None) -> None:
        self.plan = plan
        self.accelerator = accelerator or accelerator_of(plan)

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The grouped module; ``mod`` stays as it is."""
        extraction = extract(mod)
        check_network(self.plan, extraction.graph)
        return fuse_extraction(extraction, self.plan, Oracle(extraction.graph, self.accelerator))


def accelerator_of(plan: PartitionPlan) -> Accelerator:
    """The accelerator that a saved plan names, else the preset "edge"."""
    saved = plan.metadata.get("accelerator")
    return accelerator_from_dict(saved) if isinstance(saved, dict) else load_accelerator("edge")


def check_network(plan: PartitionPlan, graph: OperatorGraph) -> None:
    """Raise PlanError if the plan says that it was saved for another network."""
    fingerprint = plan.metadata.get("graph_fingerprint", graph.fingerprint)
    if fingerprint != graph.fingerprint:
        raise PlanError(
            f"plan is for another network: its graph fingerprint is {fingerprint}, "
            f"that of the module is {graph.fingerprint}"
        )


def fuse_extraction(extraction: Extraction, plan: PartitionPlan, oracle: Oracle) -> IRModule:
    """The module of ``extraction`` grouped by ``plan``, with the costs that ``oracle`` gives."""
    evaluate_plan(extraction.graph, plan, oracle)
    order = group_order(extraction.graph, plan.masks)
    assert order is not None, "a checked plan has an order"
    describe = partial(_describe, extraction)
    groups = []
    for number, place in enumerate(order):
        group = plan.groups[place]
        names = frozenset(name for i in group.operators for name in extraction.bindings[i])
        attributes = group_attributes(number, oracle.cost_in(mask_of(group.operators), group.scheme, group.parameters))
        groups.append(GroupFunction(f"fused_group_{number}", names, attributes, describe))
    return mark_primitive(fuse_groups(extraction.module, groups))


def _describe(extraction: Extraction, arguments: Sequence[Any], names: Sequence[str]) -> dict[str, Any]:
    """Attributes that say what a group function's parameters and bindings are in the network's graph."""
    graph = extraction.graph
    operands = {tensor.name: -(k + 1) for k, tensor in enumerate(graph.inputs)}
    operands |= {name: i for i, bound in enumerate(extraction.bindings) for name in bound}
    axes = [None if is_constant(argument) else extraction.row_axes[argument.name] for argument in arguments]
    return {
        BATCH: graph.operators[0].batch,
        OPERANDS: [WEIGHT if is_constant(argument) else operands[argument.name] for argument in arguments],
        ROW_AXES: [NO_ROWS if axis is None else axis for axis in axes],
        BINDING_OPERATORS: [operands[name] for name in names],
    }
