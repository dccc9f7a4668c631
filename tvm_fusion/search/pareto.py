"""Pareto fronts of plans: DRAM bytes against recomputed MACs, estimated energy or cycles, or the buffer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from itertools import pairwise

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import PlanEvaluation, evaluate_plan
from tvm_fusion.cost_models.objective import AGAINST, WeightedSum, make_objective
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.search.run import SearchResult, search

# One of the two numbers before the other, whatever it is.
_FIRST = 1 << 60
Seen = Callable[["ParetoPoint"], None]


@dataclass(frozen=True, slots=True)
class ParetoPoint:
    """A plan that no other known one beats in both numbers; ``other`` is in MACs, pJ, cycles or bytes of buffer."""

    dram_bytes: int
    other: int
    optimal: bool
    plan: PartitionPlan
    evaluation: PlanEvaluation


def pareto_front(
    graph: OperatorGraph, oracle: Oracle, against: str, most_points: int = 20, seen: Seen | None = None, seed: int = 0
) -> list[ParetoPoint]:
    """Plans on the convex hull of the front of DRAM bytes against ``against``, least DRAM bytes first.

    First both ends, then weighted sums between neighbours (Aneja and Nair, 1979) as long as they find something and
    fewer than ``most_points`` are known. Where every search is exact, so is the hull; plans between its corners that no
    weighted sum prefers are not found. ``seen`` is called with every point as it comes. Raises SearchError for a number
    that is not one of ``AGAINST`` or less than 2 points.
    """
    if against not in AGAINST:
        raise SearchError(f"front against {against!r} is unknown; allowed: {', '.join(AGAINST)}, buffer")
    if most_points < 2:
        raise SearchError(f"a front of {most_points} points is not allowed; at least 2")
    other = make_objective(against, oracle.sizes, oracle.accelerator)

    def solved(dram_weight: int, other_weight: int) -> ParetoPoint:
        result = search(graph, oracle.by(WeightedSum(dram_weight, other, other_weight)), seed=seed)
        found = _point(graph, oracle, result)
        costs = zip(result.plan.masks, found.evaluation.costs, strict=True)
        return replace(found, other=sum(other.value(m, c.dram_bytes, c.recomputed_macs) for m, c in costs))

    points = [solved(_FIRST, 1)]
    if seen is not None:
        seen(points[0])
    last = solved(1, _FIRST)
    if (last.dram_bytes, last.other) != (points[0].dram_bytes, points[0].other):
        points.append(last)
        if seen is not None:
            seen(last)
    open_pairs = list(pairwise(points))
    while open_pairs and len(points) < most_points:
        # The widest gap first: an early end leaves the best picture.
        left, right = max(open_pairs, key=lambda pair: pair[1].dram_bytes - pair[0].dram_bytes)
        open_pairs.remove((left, right))
        weights = left.other - right.other, right.dram_bytes - left.dram_bytes
        middle = solved(*weights)
        if _weighted(middle, weights) < _weighted(left, weights):
            points.append(middle)
            open_pairs += [(left, middle), (middle, right)]
            if seen is not None:
                seen(middle)
    oracle.cache.save()
    return sorted(points, key=lambda point: (point.dram_bytes, point.other))


def buffer_front(
    graph: OperatorGraph,
    accelerator: Accelerator,
    buffers: Iterable[int],
    make_oracle: Callable[[Accelerator], Oracle],
    seen: Seen | None = None,
    seed: int = 0,
) -> list[ParetoPoint]:
    """The plan that moves least for each size of the buffer in bytes, ascending; sizes that bring nothing are left out.

    ``other`` is the largest requirement of a group, so what is needed and not what is there.
    """
    points: list[ParetoPoint] = []
    for buffer_bytes in sorted(set(buffers)):
        oracle = make_oracle(replace(accelerator, buffer_bytes=buffer_bytes))
        found = _point(graph, oracle, search(graph, oracle, seed=seed))
        oracle.cache.save()
        found = replace(found, other=max(cost.buffer_bytes for cost in found.evaluation.costs))
        if not points or found.dram_bytes < points[-1].dram_bytes:
            points.append(found)
            if seen is not None:
                seen(found)
    return points


def _point(graph: OperatorGraph, oracle: Oracle, result: SearchResult) -> ParetoPoint:
    evaluation = evaluate_plan(graph, result.plan, oracle)
    return ParetoPoint(evaluation.network_dram_bytes, 0, result.optimal, result.plan, evaluation)


def _weighted(point: ParetoPoint, weights: tuple[int, int]) -> int:
    return weights[0] * point.dram_bytes + weights[1] * point.other
