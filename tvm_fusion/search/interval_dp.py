"""IntervalDP: the best cut of a topological order into intervals, for several orders."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.group_growth import GroupGrowth, Grown
from tvm_fusion.search.orders import topological_orders
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

PATIENCE = 24


class IntervalDP(Algorithm):
    """Proposes one plan for each topological order; ends after ``PATIENCE`` orders without improvement."""

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self._orders = topological_orders(problem, rng)
        self._growth: GroupGrowth | None = None
        self._best: int | None = None
        self._failures = 0

    def ask(self, limit: int) -> Sequence[Partition]:
        """The cheapest cut of the next order; none when the orders or the patience are at an end."""
        order = next(self._orders, None)
        if order is None or self._failures >= PATIENCE:
            self.finished = True
            return []
        self._growth = self._growth or GroupGrowth(self.problem)
        return [cut_order(self.problem, order, self._growth, self.stop)]

    def tell(self, partitions: Sequence[Partition], values: Sequence[int]) -> None:
        """Count the orders that brought nothing better."""
        for found in values:
            better = self._best is None or found < self._best
            self._failures = 0 if better else self._failures + 1
            self._best = found if better else self._best


def cut_order(
    problem: FusionProblem, order: Sequence[int], growth: GroupGrowth, stop: Callable[[], bool] = never
) -> Partition:
    """The cheapest partition whose groups are the connected parts of intervals of ``order``.

    ``order`` holds all operators or a convex set of them, in topological order. If ``stop`` turns true,
    every operator from there on stands alone.
    """
    count = len(order)
    waiting: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in range(count + 1)]
    distance = [0] * (count + 1)
    best: list[tuple[int, tuple[int, ...]]] = [(0, ())] * (count + 1)
    stopped = False
    for end in range(count + 1):
        if end:
            distance[end], start, masks = _cheapest(problem, distance, waiting[end])
            best[end] = start, masks
            waiting[end] = []
        stopped = stopped or stop()
        for stretch, masks, least in _intervals(problem, order, end, growth, stopped):
            waiting[stretch].append((distance[end] + least, end, masks))
    groups: list[int] = []
    end = count
    while end:
        end, masks = best[end]
        groups += masks
    partition = problem.ordered_subset(groups)
    assert partition is not None
    return partition


def _cheapest(
    problem: FusionProblem, distance: Sequence[int], waiting: list[tuple[int, int, tuple[int, ...]]]
) -> tuple[int, int, tuple[int, ...]]:
    """(distance, start, groups) of the cheapest interval; only those are evaluated of which the bound is low enough."""
    best: tuple[int, int, tuple[int, ...]] | None = None
    for bound, start, masks in sorted(waiting):
        if best is not None and bound >= best[0]:
            break
        found = [problem.oracle.evaluate(mask) for mask in masks]
        if all(valid for valid, _, _ in found):
            total = distance[start] + sum(value for _, value, _ in found)
            if best is None or total < best[0]:
                best = total, start, masks
    assert best is not None, "one operator always executes"
    return best


def _intervals(
    problem: FusionProblem, order: Sequence[int], start: int, growth: GroupGrowth, only_one: bool
) -> list[tuple[int, tuple[int, ...], int]]:
    """(end, parts, value at least) of the intervals from ``start`` that are not proven invalid.

    The bound of a part holds for every part that it grows into, so the first one that is too large ends it.
    """
    predecessors = problem.graph.predecessor_masks
    found: list[tuple[int, tuple[int, ...], int]] = []
    parts: list[Grown] = []
    for position in range(start, len(order)):
        i = order[position]
        touched = [part for part in parts if part.mask & predecessors[i]]
        grown = growth.add(touched[0] if len(touched) == 1 else growth.joined(touched), i)
        parts = [part for part in parts if part not in touched]
        parts.append(grown)
        if position == start:
            # One operator always executes, layer by layer if need be.
            found.append((start + 1, (1 << i,), problem.group_value(1 << i)))
            if only_one:
                break
        if not grown.alive:
            break
        if position > start:
            found.append((position + 1, tuple(part.mask for part in parts), sum(map(growth.least, parts))))
    return found
