"""IntervalDP: the best cut of a topological order into intervals, for several orders."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.growth import GrowthBound
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
        self._bound: GrowthBound | None = None
        self._best: int | None = None
        self._failures = 0

    def ask(self, limit: int) -> Sequence[Partition]:
        """The cheapest cut of the next order; none when the orders or the patience are at an end."""
        order = next(self._orders, None)
        if order is None or self._failures >= PATIENCE:
            self.finished = True
            return []
        self._bound = self._bound or GrowthBound(self.problem)
        return [cut_order(self.problem, order, self._bound, self.stop)]

    def tell(self, partitions: Sequence[Partition], dram_bytes: Sequence[int]) -> None:
        """Count the orders that brought nothing better."""
        for found in dram_bytes:
            better = self._best is None or found < self._best
            self._failures = 0 if better else self._failures + 1
            self._best = found if better else self._best


class _Part(NamedTuple):
    """One connected part of an interval, with the bytes that it needs and moves."""

    mask: int
    needed: int
    moved: int


def cut_order(
    problem: FusionProblem, order: Sequence[int], bound: GrowthBound, stop: Callable[[], bool] = never
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
            for cost, start, masks in sorted(waiting[end]):
                if all(problem.valid(mask) for mask in masks):
                    distance[end], best[end] = cost, (start, masks)
                    break
            waiting[end] = []
        stopped = stopped or stop()
        for stretch, masks, moved in _intervals(problem, order, end, bound, stopped):
            waiting[stretch].append((distance[end] + moved, end, masks))
    found: list[int] = []
    end = count
    while end:
        end, masks = best[end]
        found += masks
    partition = problem.ordered_subset(found)
    assert partition is not None
    return partition


def _intervals(
    problem: FusionProblem, order: Sequence[int], start: int, bound: GrowthBound, only_one: bool
) -> list[tuple[int, tuple[int, ...], int]]:
    """(end, parts, bytes moved) of the intervals from ``start`` that are not proven invalid.

    The bound of a part holds for every part that it grows into, so the first one that is too large ends it.
    """
    predecessors = problem.graph.predecessor_masks
    found: list[tuple[int, tuple[int, ...], int]] = []
    parts: list[_Part] = []
    for position in range(start, len(order)):
        i = order[position]
        touched = [part for part in parts if part.mask & predecessors[i]]
        if len(touched) == 1:
            mask, needed, moved = touched[0]
        else:
            mask = sum(part.mask for part in touched)
            needed, moved = bound.total(mask)
        needed, moved = bound.add(mask, needed, moved, i)
        parts = [part for part in parts if part not in touched]
        parts.append(_Part(mask | 1 << i, needed, moved))
        if position == start:
            # One operator always executes, layer by layer if need be.
            found.append((start + 1, (1 << i,), problem.group_bytes(1 << i)))
            if only_one:
                break
        if needed > problem.buffer_bytes:
            break
        if position > start:
            found.append((position + 1, tuple(part.mask for part in parts), sum(part.moved for part in parts)))
    return found
