"""What every group of a plan keeps on chip and moves: as planned, and as its lowered code does it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan, group_order


def memory_report(
    graph: OperatorGraph,
    plan: PartitionPlan,
    oracle: Oracle,
    lowered: Mapping[str, dict[str, Any]] | None = None,
    reasons: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """All bytes by group as JSON, in the order of execution, by which the compiled functions are numbered.

    ``lowered`` has, by function ("fused_group_0"), what its code holds and moves at the element widths of the network;
    ``reasons`` says why another was not lowered. Planned bytes are at the widths of the oracle's accelerator.
    Raises PlanError if the plan is not one of ``graph``.
    """
    evaluation = evaluate_plan(graph, plan, oracle)
    order = group_order(graph, plan.masks)
    assert order is not None, "a checked plan has an order"
    groups = [_group(number, graph, evaluation.costs[place], oracle) for number, place in enumerate(order)]
    for group in groups:
        group["lowered"] = (lowered or {}).get(group["function"])
        group["not_lowered"] = None if group["lowered"] else (reasons or {}).get(group["function"]) or _reason(group)
    return {
        "network": graph.name,
        "graph_fingerprint": graph.fingerprint,
        "accelerator": oracle.accelerator.to_json(),
        "totals": evaluation.totals(),
        "largest_requirement_bytes": max(cost.buffer_bytes for cost in evaluation.costs),
        "largest_lowered_end_bytes": max((g["lowered"]["end_bytes"] for g in groups if g["lowered"]), default=None),
        "lowered_groups": sum(group["lowered"] is not None for group in groups),
        "groups": groups,
    }


def _reason(group: dict[str, Any]) -> str:
    return "it executes layer by layer" if group["scheme"] == "layer" else "lowering is off"


def _group(number: int, graph: OperatorGraph, cost: GroupCost, oracle: Oracle) -> dict[str, Any]:
    """One group; "tensors" are its line buffers (none where it executes layer by layer), a network input has id < 0."""
    sizes = oracle.sizes.weight_bytes
    return {
        "group": number,
        "function": f"fused_group_{number}",
        **cost.to_json(),
        "names": [graph.operators[i].name for i in cost.operators],
        "tensors": [
            {"tensor": buffer.tensor, "name": graph.tensor(buffer.tensor).name}
            | {"lines": buffer.lines, "height": graph.tensor(buffer.tensor).height, "bytes": buffer.bytes}
            for buffer in cost.buffers
        ],
        "weights": [
            {"operator": i, "name": graph.operators[i].name, "bytes": sizes[i]} for i in cost.operators if sizes[i]
        ],
        "weight_buffer_bytes": cost.weight_buffer_bytes,
    }
