"""Our side of the table of peers: plans by our searches, and groupings by others' rules scored by our cost model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tvm_fusion.cli import planning
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.registry import AUTO, chosen_schemes, scheme_names
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.graph.plan import PartitionPlan

Row = dict[str, Any]
# Schemes that execute most networks by themselves; any other is tried beside LBDF.
ALONE = ("lbdf", "brr")


def scheme_choices() -> list[str]:
    """What to search with: each scheme as far as it goes alone, LBDF with BRR, and all together."""
    others = [name for name in scheme_names() if name not in (*ALONE, "layer")]
    return [*ALONE, ",".join(ALONE), *(f"lbdf,{name}" for name in others), AUTO]


def searched(graph: OperatorGraph, accelerator: Accelerator, schemes: str, seconds: float) -> Row:
    """The best plan found within ``seconds``; "bound_bytes" is what no plan beats: proven, or compulsory."""
    found = planning.find(graph, accelerator, planning.Wanted(scheme=schemes, seconds=seconds, budget_plans=10**9))
    result, evaluation = found.result, found.evaluation
    return {
        "dram_bytes": evaluation.network_dram_bytes,
        "groups": len(evaluation.costs),
        "groups_by_scheme": groups_by_scheme(cost.scheme for cost in evaluation.costs),
        "recomputed_macs": evaluation.recomputed_macs,
        "optimal": result.optimal,
        "bound_bytes": result.certificate.get("lower_bound_bytes", evaluation.compulsory_dram_bytes),
        "chosen_by_heuristics": result.certificate.get("chosen_by_heuristics", []),
        "seconds": round(result.seconds, 2),
    }


def scored(graph: OperatorGraph, oracle: Oracle, masks: list[int], parts: Mapping[int, list[int]]) -> Row:
    """What a grouping moves in our model; ``parts`` are the valid groups that each mask was cut into (itself alone)."""
    plan = PartitionPlan.from_masks(graph, [part for mask in masks for part in parts[mask]])
    evaluation = evaluate_plan(graph, plan, oracle)
    assert evaluation.valid, "every part was asked for"
    return {
        "dram_bytes": evaluation.network_dram_bytes,
        "groups": len(evaluation.costs),
        "groups_by_scheme": groups_by_scheme(cost.scheme for cost in evaluation.costs),
        "proposed_groups": len(masks),
        "groups_cut": sum(len(parts[mask]) > 1 for mask in masks),
    }


def unlimited(oracle: Oracle, masks: list[int]) -> Row:
    """What a grouping would move if every group fitted: its inputs, outputs and weights once each."""
    return {"dram_bytes": sum(oracle.least_bytes(mask) for mask in masks), "groups": len(masks)}


def operator_by_operator(oracle: Oracle, mask: int) -> list[int]:
    """The group, or every operator of it alone if it does not fit."""
    return [mask] if oracle.evaluate(mask)[0] else [1 << i for i in members(mask)]


def cut_cheaply(oracle: Oracle, line_buffers: Oracle, mask: int) -> list[int]:
    """The group whole if it fits, or cut into :func:`largest_prefixes`: whichever moves less.

    They are those that fit under LBDF, or by the oracle where its schemes cannot execute all of these.
    """
    prefixes = largest_prefixes(line_buffers, mask)
    fitting = all(oracle.evaluate(part)[0] for part in prefixes)
    ways = [prefixes if fitting else largest_prefixes(oracle, mask)]
    if oracle.evaluate(mask)[0]:
        ways.insert(0, [mask])
    return min(ways, key=lambda parts: sum(oracle.evaluate(part)[1] for part in parts))


def largest_prefixes(oracle: Oracle, mask: int) -> list[int]:
    """The group cut from its beginning, in topological order: each part the largest prefix of the rest that fits.

    A part is connected. One operator always fits (layer by layer, if no other way).
    """
    parts, rest = [], mask
    while rest:
        prefix = best = rest & -rest
        for i in members(rest & ~prefix):
            prefix |= 1 << i
            if oracle.graph.is_connected(prefix) and oracle.evaluate(prefix)[0]:
                best = prefix
        parts.append(best)
        rest &= ~best
    return parts


def groups_by_scheme(schemes: Iterable[str]) -> dict[str, int]:
    """How many groups execute in each scheme."""
    counts: dict[str, int] = {}
    for scheme in schemes:
        counts[scheme] = counts.get(scheme, 0) + 1
    return counts


def schemes_of(choice: str) -> list[str]:
    """The schemes of a choice, so that a result of other schemes is not taken for it."""
    return list(chosen_schemes(choice))
