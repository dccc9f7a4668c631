"""A whole plan over time: the simulator's events of every group, one group after another."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan, check_plan

Points = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class PlanTimeline:
    """Memory over time: on-chip bytes and DRAM bytes so far of every point, and where each group starts.

    ``group_starts`` are positions in the two series, one for each group of the plan in its order.
    ``events`` is how many events there were before they were thinned out.
    """

    occupancy_bytes: tuple[int, ...]
    dram_bytes: tuple[int, ...]
    group_starts: tuple[int, ...]
    events: int


def simulate_plan(graph: OperatorGraph, plan: PartitionPlan, oracle: Oracle, max_points: int = 4000) -> PlanTimeline:
    """Execute every group of ``plan``; at most ``max_points`` points, or one a group if that is more.

    A point stands for a stretch of events in one group: the highest occupancy and the last DRAM
    count in it, so no peak is lost. A group that executes layer by layer is flat: its buffer, and
    traffic that grows evenly. Raises PlanError if the plan is not one of ``graph``.
    """
    check_plan(graph, plan)
    if max_points < 1:
        raise CostModelError(f"max_points {max_points} is not allowed; at least 1")
    stretches = [_events(oracle, group) for group in plan.groups]
    total = sum(len(points) for points in stretches)
    room = max(1, max_points - len(stretches))
    stretch = 1 if total <= max_points else -(-total // room)
    occupancy: list[int] = []
    dram: list[int] = []
    starts: list[int] = []
    moved = 0
    for points in stretches:
        starts.append(len(occupancy))
        for at in range(0, len(points), stretch):
            part = points[at : at + stretch]
            occupancy.append(max(point[0] for point in part))
            dram.append(moved + part[-1][1])
        moved += points[-1][1]
    return PlanTimeline(tuple(occupancy), tuple(dram), tuple(starts), total)


def _events(oracle: Oracle, group: Group) -> Points:
    """(occupancy, DRAM bytes of this group so far) of every event of a group."""
    cost = oracle.cost_in(mask_of(group.operators), group.scheme, group.parameters)
    result = oracle.scheme(cost.scheme).simulate(cost, keep_timeline=True)
    return [(occupancy, moved) for _, occupancy, moved in result.timeline]
