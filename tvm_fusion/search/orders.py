"""Topological orders worth cutting into intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem, Partition

ATTEMPTS = 20


def topological_orders(problem: FusionProblem, rng: np.random.Generator) -> Iterator[tuple[int, ...]]:
    """Distinct topological orders: as numbered, depth first, breadth first, least memory, then random ones.

    Ends when ``ATTEMPTS`` random orders in a row bring nothing new.
    """
    seen: set[tuple[int, ...]] = set()
    makers: list[Callable[[], tuple[int, ...]]] = [
        lambda: tuple(range(problem.size)),
        lambda: _order(problem, lambda ready, _: len(ready) - 1),
        lambda: _order(problem, lambda _ready, _left: 0),
        lambda: _order(problem, _frees_most(problem)),
    ]
    failures = 0
    while failures < ATTEMPTS:
        if makers:
            order = makers.pop(0)()
        else:
            order = tuple(problem.random_order(problem.everything, rng, depth_first=float(rng.random())))
        if order in seen:
            failures += 1
        else:
            failures = 0
            seen.add(order)
            yield order


def order_of(partition: Partition) -> tuple[int, ...]:
    """An order in which the partition's groups are intervals."""
    return tuple(i for mask in partition for i in members(mask))


def _order(problem: FusionProblem, choose: Callable[[list[int], int], int]) -> tuple[int, ...]:
    """Kahn's algorithm; ``choose`` takes the ready operators and the mask of those left, returns a position."""
    predecessors, successors = problem.graph.predecessor_masks, problem.graph.successor_masks
    left = problem.everything
    ready = [i for i in range(problem.size) if not predecessors[i]]
    order = []
    while ready:
        i = ready.pop(choose(ready, left))
        order.append(i)
        left ^= 1 << i
        ready += [c for c in members(successors[i]) if not predecessors[c] & left]
    return tuple(order)


def _frees_most(problem: FusionProblem) -> Callable[[list[int], int], int]:
    """Choose the operator after which the least bytes are alive."""
    tensor_bytes = problem.oracle.sizes.tensor_bytes
    predecessors, successors = problem.graph.predecessor_masks, problem.graph.successor_masks

    def choose(ready: list[int], left: int) -> int:
        def grows(k: int) -> tuple[int, int]:
            i = ready[k]
            freed = sum(tensor_bytes[t] for t in members(predecessors[i]) if not successors[t] & left & ~(1 << i))
            return tensor_bytes[i] - freed, k

        return min(range(len(ready)), key=grows)

    return choose
