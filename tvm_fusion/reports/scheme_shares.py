"""What every execution scheme carries of a plan."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_fusion.cost_models.evaluation import PlanEvaluation
from tvm_fusion.cost_models.schemes.registry import scheme_names


@dataclass(frozen=True, slots=True)
class SchemeShare:
    """Groups, operators, DRAM bytes and MACs executed again of all groups in one scheme."""

    scheme: str
    groups: int
    operators: int
    dram_bytes: int
    recomputed_macs: int


def scheme_shares(evaluation: PlanEvaluation) -> list[SchemeShare]:
    """One share for every scheme that a group has, in the order in which they are registered."""
    shares = []
    for name in scheme_names():
        costs = [cost for cost in evaluation.costs if cost.scheme == name]
        if costs:
            operators = sum(len(cost.operators) for cost in costs)
            moved, again = sum(c.dram_bytes for c in costs), sum(c.recomputed_macs for c in costs)
            shares.append(SchemeShare(name, len(costs), operators, moved, again))
    return shares
