"""What a whole plan costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.registry import scheme_names
from tvm_fusion.errors import CostModelError, PlanError
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan, check_plan


@dataclass(frozen=True, slots=True)
class PlanEvaluation:
    """Costs by group and in total; ``fusable`` leaves out the operators that do not fit alone."""

    costs: tuple[GroupCost, ...]
    network_dram_bytes: int
    fusable_dram_bytes: int
    unfused_dram_bytes: int
    compulsory_dram_bytes: int
    estimated_cycles: float
    estimated_energy_pj: float
    recomputed_macs: int
    macs: int
    valid: bool

    def totals(self) -> dict[str, float]:
        """The totals by name, as saved in a plan."""
        return {
            "network_dram_bytes": self.network_dram_bytes,
            "fusable_dram_bytes": self.fusable_dram_bytes,
            "unfused_dram_bytes": self.unfused_dram_bytes,
            "compulsory_dram_bytes": self.compulsory_dram_bytes,
            "estimated_cycles": self.estimated_cycles,
            "estimated_energy_pj": self.estimated_energy_pj,
            "recomputed_macs": self.recomputed_macs,
            "macs": self.macs,
        }

    def to_json(self) -> dict[str, Any]:
        """The JSON of ``tvm-fusion evaluate --json``."""
        return {"groups": [cost.to_json() for cost in self.costs], "totals": self.totals()}


def evaluate_plan(graph: OperatorGraph, plan: PartitionPlan, oracle: Oracle) -> PlanEvaluation:
    """Costs of every group of ``plan``. Raises PlanError if the plan is not one of ``graph``."""
    check_plan(graph, plan)
    costs = tuple(_cost(number, group, oracle) for number, group in enumerate(plan.groups))
    network = sum(cost.dram_bytes for cost in costs)
    if network < oracle.compulsory_dram_bytes:
        raise CostModelError(f"plan moves {network} bytes, below the compulsory {oracle.compulsory_dram_bytes}")
    return PlanEvaluation(
        costs=costs,
        network_dram_bytes=network,
        fusable_dram_bytes=sum(cost.dram_bytes for cost in costs if mask_of(cost.operators) & oracle.fusable_mask),
        unfused_dram_bytes=oracle.unfused_dram_bytes,
        compulsory_dram_bytes=oracle.compulsory_dram_bytes,
        estimated_cycles=sum(cost.estimated_cycles for cost in costs),
        estimated_energy_pj=sum(cost.estimated_energy_pj for cost in costs),
        recomputed_macs=sum(cost.recomputed_macs for cost in costs),
        macs=sum(cost.macs for cost in costs),
        valid=all(cost.valid for cost in costs),
    )


def _cost(number: int, group: Group, oracle: Oracle) -> GroupCost:
    if group.scheme not in (None, *scheme_names()):
        raise PlanError(f"group {number} has scheme {group.scheme!r}; allowed: {', '.join(scheme_names())}")
    if group.scheme == "layer" and len(group.operators) > 1:
        raise PlanError(f"group {number} has scheme 'layer', in which one operator executes alone; it has several")
    try:
        return oracle.cost_in(mask_of(group.operators), group.scheme, group.parameters)
    except CostModelError as error:
        raise PlanError(f"group {number}: {error}") from None
