"""The optimum by trying everything."""

from __future__ import annotations

from collections.abc import Iterator

from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import group_order
from tvm_fusion.search.problem import FusionProblem


def partitions(graph: OperatorGraph) -> Iterator[list[int]]:
    """Every acyclic partition of a small graph into connected groups."""

    def extend(i: int, masks: list[int]) -> Iterator[list[int]]:
        if i == len(graph):
            if all(graph.is_connected(mask) for mask in masks) and group_order(graph, masks) is not None:
                yield masks
            return
        for k, mask in enumerate(masks):
            yield from extend(i + 1, [*masks[:k], mask | 1 << i, *masks[k + 1 :]])
        yield from extend(i + 1, [*masks, 1 << i])

    return extend(0, [])


def optimum(problem: FusionProblem) -> int:
    """Least DRAM bytes of all valid, acyclic partitions."""
    return min(
        problem.plan_value(masks) for masks in partitions(problem.graph) if all(problem.valid(mask) for mask in masks)
    )
