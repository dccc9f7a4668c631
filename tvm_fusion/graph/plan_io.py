"""Partition plans as JSON: short by hand, complete when saved."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tvm_fusion.errors import PlanError
from tvm_fusion.files import write_text_atomic
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan, check_plan, group_order

SCHEMA_VERSION = 1


def load_plan(path: str | Path, graph: OperatorGraph) -> PartitionPlan:
    """Read and check a plan for ``graph``. Raises PlanError in one line."""
    try:
        data = json.loads(Path(path).read_text("utf-8"))
    except OSError as error:
        raise PlanError(f"cannot read plan {str(path)!r}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, numbers or nesting beyond all measure
        raise PlanError(f"plan {str(path)!r} is not JSON: {error}") from None
    return plan_from_json(data, graph)


def plan_from_json(data: Any, graph: OperatorGraph) -> PartitionPlan:
    """A plan from ``{"groups": [{"operators": [0, 1]}]}``, by ids or names; all else in it is kept as metadata."""
    if not isinstance(data, dict) or not isinstance(data.get("groups"), list):
        raise PlanError('a plan is {"groups": [{"operators": [0, 1, 2]}, ...]}; this JSON has no list "groups"')
    version = data.get("schema_version", SCHEMA_VERSION)
    if isinstance(version, bool) or not isinstance(version, int) or version != SCHEMA_VERSION:
        raise PlanError(f"plan has schema_version {version!r}; allowed: {SCHEMA_VERSION}")
    fingerprint = data.get("graph_fingerprint")
    if fingerprint is not None and fingerprint != graph.fingerprint:
        raise PlanError(
            f"plan is for another network: its graph fingerprint is {fingerprint}, "
            f"that of {graph.name!r} is {graph.fingerprint}"
        )
    ids = {operator.name: operator.id for operator in graph.operators}
    groups = tuple(_group(number, entry, ids) for number, entry in enumerate(data["groups"]))
    metadata = {key: value for key, value in data.items() if key != "groups"}
    plan = PartitionPlan(groups, metadata)
    check_plan(graph, plan)
    order = group_order(graph, plan.masks)
    assert order is not None
    return PartitionPlan(tuple(groups[k] for k in order), metadata)


def _group(number: int, entry: Any, ids: dict[str, int]) -> Group:
    named = entry.get("operators") if isinstance(entry, dict) else None
    if not isinstance(named, list) or any(isinstance(i, bool) or not isinstance(i, int | str) for i in named):
        raise PlanError(f'group {number} must be {{"operators": [ids or names]}}, not {entry!r}')
    unknown = next((name for name in named if isinstance(name, str) and name not in ids), None)
    if unknown is not None:
        raise PlanError(f"group {number} names operator {unknown!r}, which the graph does not have")
    operators = [ids[name] if isinstance(name, str) else name for name in named]
    scheme = entry.get("scheme")
    if scheme is not None and not isinstance(scheme, str):
        raise PlanError(f"group {number} has scheme {scheme!r}; it must be text")
    repeated = [i for i in operators if operators.count(i) > 1]
    if repeated:
        raise PlanError(f"group {number} repeats operator {repeated[0]}; each operator belongs to exactly one group")
    parameters = entry.get("parameters", {})
    if not isinstance(parameters, dict) or (parameters and scheme is None):
        raise PlanError(f"group {number} has parameters {parameters!r}; they must be an object beside a scheme")
    return Group(tuple(sorted(operators)), scheme, parameters)


def plan_to_json(plan: PartitionPlan, graph: OperatorGraph, **facts: Any) -> dict[str, Any]:
    """The plan with its graph's fingerprint, operator names and whatever ``facts`` are given."""
    groups = [
        {
            "operators": list(group.operators),
            "names": [graph.operators[i].name for i in group.operators],
            **({"scheme": group.scheme} if group.scheme else {}),
            **({"parameters": group.parameters} if group.parameters else {}),
        }
        for group in plan.groups
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "network": graph.name,
        "graph_fingerprint": graph.fingerprint,
        **{key: value for key, value in facts.items() if value is not None},
        "groups": groups,
    }


def save_plan(path: str | Path, plan: PartitionPlan, graph: OperatorGraph, **facts: Any) -> None:
    """Write the plan atomically. ``facts`` (accelerator, algorithm, seed, totals) must be JSON."""
    mask_total = sum(mask_of(group.operators) for group in plan.groups)
    assert mask_total == (1 << len(graph)) - 1, "a checked plan covers its graph"
    write_text_atomic(path, json.dumps(plan_to_json(plan, graph, **facts), indent=1) + "\n")
