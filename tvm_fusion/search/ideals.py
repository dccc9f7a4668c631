"""Ideals of a DAG: the sets of operators that are closed under predecessors."""

from __future__ import annotations

from collections.abc import Callable

from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem


def ideals_by_size(problem: FusionProblem, limit: int, stop: Callable[[], bool]) -> dict[int, int] | None:
    """Every ideal with its ready operators (outside it, all predecessors inside), smaller ideals first.

    None if there are more than ``limit`` of them or ``stop`` turns true.
    """
    predecessors = problem.graph.predecessor_masks
    successors = [tuple(members(mask)) for mask in problem.graph.successor_masks]
    ready = sum(1 << i for i in range(problem.size) if not predecessors[i])
    ideals = {0: ready}
    level = ideals.copy()
    for _ in range(problem.size):
        if stop():
            return None
        larger: dict[int, int] = {}
        for ideal, ready in level.items():
            for i in members(ready):
                grown = ideal | 1 << i
                if grown not in larger:
                    following = ready ^ 1 << i
                    for c in successors[i]:
                        if not predecessors[c] & ~grown:
                            following |= 1 << c
                    larger[grown] = following
            if len(ideals) + len(larger) > limit:
                return None
        ideals.update(larger)
        level = larger
    return ideals
