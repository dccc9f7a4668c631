"""IntervalDP: the best cut of a topological order into intervals, for several orders."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tvm_fusion.graph.graph import members
from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.group_growth import GroupGrowth, Grown
from tvm_fusion.search.orders import topological_orders
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

PATIENCE = 24
_SHORT = 48  # operators of an interval in the plan that a cut has to beat
_LONG_ORDER = 600  # operators, of which not every interval is tried


class IntervalDP(Algorithm):
    """Proposes one plan for each topological order; ends after ``PATIENCE`` orders without improvement.

    ``max_checks``: ends also once schemes beside LBDF were asked of so many growing groups, which takes longer.
    """

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
        max_checks: int | None = None,
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self.max_checks = max_checks
        self._orders = topological_orders(problem, rng)
        self._growth: GroupGrowth | None = None
        self._best: int | None = None
        self._failures = 0

    def ask(self, limit: int) -> Sequence[Partition]:
        """The cheapest cut of the next order; none when the orders or the patience are at an end."""
        order = next(self._orders, None)
        self._growth = self._growth or GroupGrowth(self.problem)
        tired = self.max_checks is not None and self._growth.checks > self.max_checks
        if order is None or self._failures >= PATIENCE or tired:
            self.finished = True
            return []
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

    Of more than ``_LONG_ORDER`` operators, intervals of more than ``_SHORT`` begin only where the plan so far is cut.
    ``order`` holds all operators or a convex set of them, in topological order. If ``stop`` turns true,
    every operator from there on stands alone.
    """
    # Some schemes execute groups of hundreds of operators. The cheapest cut into short intervals is soon found, and
    # tells which long ones are worth a look.
    cut = _Cut(problem, order, growth, stop)
    if len(order) <= _SHORT:
        return cut.cheapest(len(order))
    found = cut.cheapest(_SHORT)
    if len(order) <= _LONG_ORDER:
        return cut.cheapest(len(order), problem.plan_value(found))
    while not cut.stopped:
        better = cut.cheapest(len(order), problem.plan_value(found), found)
        if problem.plan_value(better) >= problem.plan_value(found):
            break
        found = better
    return found


class _Cut:
    """One order, cut into intervals."""

    def __init__(
        self, problem: FusionProblem, order: Sequence[int], growth: GroupGrowth, stop: Callable[[], bool]
    ) -> None:
        self.problem, self.order, self.growth, self.stop = problem, order, growth, stop
        self.stopped = False
        self._rest = self._rests()

    def cheapest(self, longest: int, at_most: int | None = None, cut_at: Partition = ()) -> Partition:
        """Of intervals of ``longest`` operators at most; ``at_most`` is the value of a plan that may be found again.

        ``cut_at``: those of more than ``_SHORT`` begin with an operator that one of these groups begins with.
        """
        begins = {next(members(mask)) for mask in cut_at}
        count = len(self.order)
        waiting: list[list[tuple[int, int, tuple[int, ...]]]] = [[] for _ in range(count + 1)]
        distance: list[int | None] = [0, *([None] * count)]
        best: list[tuple[int, tuple[int, ...]]] = [(0, ())] * (count + 1)
        for end in range(count + 1):
            if end:
                found = self._cheapest(distance, waiting[end], at_most)
                waiting[end] = []
                if found is None:
                    continue
                distance[end], start, masks = found
                best[end] = start, masks
            here = distance[end]
            assert here is not None
            slack = None if at_most is None else at_most - here
            if slack is not None and self._least_rest(end) > slack:
                continue
            self.stopped = self.stopped or self.stop()
            short = begins and end < count and self.order[end] not in begins
            for stretch, masks, least in self._intervals(end, _SHORT if short else longest, slack):
                waiting[stretch].append((here + least, end, masks))
        groups: list[int] = []
        end = count
        while end:
            end, masks = best[end]
            groups += masks
        partition = self.problem.ordered_subset(groups)
        assert partition is not None
        return partition

    def _rests(self) -> list[tuple[int, float]]:
        """Bytes and work of the operators from each position on, at least."""
        problem, growth, mask, work = self.problem, self.growth, 0, 0.0
        found = [(0, 0.0)]
        for i in reversed(self.order):
            mask |= 1 << i
            work += growth.work[i]
            found.append((problem.oracle.least_bytes(mask), work))
        return found[::-1]

    def _least_rest(self, position: int, extra_bytes: int = 0) -> int:
        """What the operators from ``position`` on cost at least, if they move so much beyond the least."""
        least_bytes, work = self._rest[position]
        return self.growth.objective.least(least_bytes + extra_bytes, work)

    def _cheapest(
        self, distance: Sequence[int | None], waiting: list[tuple[int, int, tuple[int, ...]]], at_most: int | None
    ) -> tuple[int, int, tuple[int, ...]] | None:
        """(distance, start, groups) of the cheapest interval; only those are evaluated of which the bound is low."""
        best: tuple[int, int, tuple[int, ...]] | None = None
        for bound, start, masks in sorted(waiting):
            if best is not None and bound >= best[0]:
                break
            found = [self.problem.oracle.evaluate(mask) for mask in masks]
            if all(valid for valid, _, _ in found):
                before = distance[start]
                assert before is not None
                total = before + sum(value for _, value, _ in found)
                if best is None or total < best[0]:
                    best = total, start, masks
        assert best is not None or at_most is not None, "one operator always executes"
        return best

    def _intervals(self, start: int, longest: int, slack: int | None) -> list[tuple[int, tuple[int, ...], int]]:
        """(end, parts, value at least) of the intervals from ``start`` that are not proven invalid or too dear.

        The bound of a part holds for every part that it grows into, so the first one that is too large ends it.
        """
        problem, order, growth = self.problem, self.order, self.growth
        predecessors = problem.graph.predecessor_masks
        found: list[tuple[int, tuple[int, ...], int]] = []
        parts: list[Grown] = []
        for position in range(start, min(len(order), start + longest)):
            i = order[position]
            touched = [part for part in parts if part.mask & predecessors[i]]
            grown = growth.add(touched[0] if len(touched) == 1 else growth.joined(touched), i)
            parts = [part for part in parts if part not in touched]
            parts.append(grown)
            if position == start:
                # One operator always executes, layer by layer if need be.
                found.append((start + 1, (1 << i,), problem.group_value(1 << i)))
                if self.stopped:
                    break
            if not grown.alive:
                break
            if position > start:
                least = sum(map(growth.least, parts))
                if slack is None or least + self._least_rest(position + 1) <= slack:
                    found.append((position + 1, tuple(part.mask for part in parts), least))
            # What the parts move beyond the least they move whatever they grow into.
            extra = sum(part.extra for part in parts)
            if slack is not None and extra and self._least_rest(start, extra) > slack:
                break
        return found
