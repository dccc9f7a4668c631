"""The order in which operators are priced, and with which others each may share a group."""

from __future__ import annotations

import heapq

from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.requirement import Requirement


def group_roots(problem: FusionProblem, requirement: Requirement, alone: int) -> list[tuple[int, int]]:
    """Operators, lightest first, and for each a mask: itself and those before it that it may share a group with.

    Those of the mask ``alone`` share none and come last. Every group of several operators lies within the mask of its
    last operator. Heavy operators come late because the groups that they are in are small.
    """
    weight_bytes = problem.oracle.sizes.weight_bytes
    order = sorted(members(problem.everything & ~alone), key=lambda i: (weight_bytes[i], -i))
    allowed = 0
    found = []
    for i in order:
        allowed |= 1 << i
        found.append((i, _near(problem, requirement, i, allowed)))
    return [*found, *((i, 1 << i) for i in members(alone))]


def _near(problem: FusionProblem, requirement: Requirement, root: int, allowed: int) -> int:
    """Operators for which the path to the root that adds least (Dijkstra) leaves the buffer large enough."""
    neighbours = problem.graph.neighbour_masks
    needed = {root: requirement.added_bytes(root)}
    waiting = [(needed[root], root)]
    reached = 0
    while waiting:
        bytes_, i = heapq.heappop(waiting)
        if reached >> i & 1:
            continue
        reached |= 1 << i
        for k in members(neighbours[i] & allowed & ~reached):
            total = bytes_ + requirement.added_bytes(k)
            if total <= problem.buffer_bytes and total < needed.get(k, total + 1):
                needed[k] = total
                heapq.heappush(waiting, (total, k))
    return reached
