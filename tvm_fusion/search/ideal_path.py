"""IdealPath: the cheapest chain of ideals (:mod:`tvm_fusion.search.exact` says why it is the optimum), found lazily.

The search keeps what may belong to a plan of a given value at most: the cost of an ideal so far, what the operators
outside it cost at least, and what a group moves beyond the least must not exceed it. It begins with a low value. As
long as no plan is found the value is proven to be too low, and a larger one is tried; what was learnt of groups stays.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from tvm_fusion.graph.graph import members
from tvm_fusion.search.algorithm import never
from tvm_fusion.search.cost_to_go import CUT_STEPS, CostToGo
from tvm_fusion.search.group_growth import GroupGrowth
from tvm_fusion.search.interval_dp import cut_order
from tvm_fusion.search.orders import topological_orders
from tvm_fusion.search.problem import FusionProblem, Partition

_ORDERS = 4  # those that take no random numbers, for a plan to begin with
# Checks until bounds behind bottlenecks are looked for: they take longer, but for graphs of thousands of ideals.
_CHECKS_BEFORE_CUTS = 300_000
_FEWEST_CUTS = 4
_GROUPS_BETWEEN_STOPS = 256


@dataclass
class IdealPath:
    """Shortest path over the ideals of a problem.

    For every ideal the groups that may end there wait, sorted by a bound of their cost, and only as many of them are
    evaluated by the oracle as it takes to find the cheapest. ``plan``: one that is known; without it orders are cut.
    ``at_least``: no plan has a lower value. ``ideals``: how many the graph has, for the certificate. ``steps``: the
    first value tried is this part of the way from what certainly moves to the plan known, each one after it twice as
    far; a power of two.
    """

    problem: FusionProblem
    plan: Partition | None = None
    max_groups: int | None = None  # give up after so many groups grown,
    max_checks: int | None = None  # or so many of which schemes beside LBDF were asked: that takes longer
    ideals: int | None = None
    at_least: int = 0
    steps: int = 4
    growth: GroupGrowth | None = None
    to_go: Callable[[int], int] | None = None  # DRAM bytes that move after an ideal at least, if more is known
    groups: int = 0
    checks: int = 0
    _distance: dict[int, int] = field(default_factory=dict)
    _last_group: dict[int, int] = field(default_factory=dict)
    _waiting: list[dict[int, list[tuple[int, int]]]] = field(default_factory=list)
    _ready: dict[int, int] = field(default_factory=dict)
    _to_go: dict[int, tuple[int, float]] = field(default_factory=dict)
    _least: int = 0
    _before: int = 0
    _solved: bool = False
    _reached: int = 0

    def __post_init__(self) -> None:
        graph = self.problem.graph
        self._predecessors = graph.predecessor_masks
        self._successors = [tuple(members(mask)) for mask in graph.successor_masks]
        self._ready[0] = sum(1 << i for i in range(self.problem.size) if not self._predecessors[i])
        self._least = self._rest(0)
        self.at_least = max(self.at_least, self._least)

    def solve(self, stop: Callable[[], bool] = never) -> bool:
        """Whether the optimum was found: False if ``stop`` turned true or there was more to do than allowed."""
        problem = self.problem
        self._before = problem.oracle.evaluated
        growth = self.growth = self.growth or GroupGrowth(problem)
        if self.plan is None:
            orders = islice(topological_orders(problem, np.random.default_rng(0)), _ORDERS)
            plans = (cut_order(problem, order, growth, stop) for order in orders)
            self.plan = min(plans, key=problem.plan_value)
        known = problem.plan_value(self.plan)
        to_go = CostToGo(problem, growth)
        if problem.oracle.objective.name != "dram" or len(to_go.cuts) < _FEWEST_CUTS:
            return self._approach(growth, known, stop)
        most_checks, self.max_checks = self.max_checks, _CHECKS_BEFORE_CUTS
        if most_checks is not None:
            self.max_checks = min(self.max_checks, most_checks)
        if self._approach(growth, known, stop):
            return True
        self.max_checks = most_checks
        return not stop() and not self._exhausted() and self._by_cuts(to_go, self.plan, stop)

    def _approach(self, growth: GroupGrowth, known: int, stop: Callable[[], bool]) -> bool:
        """Try values on the way from what certainly moves to that of a plan."""
        way = known - self._least
        part = self.steps
        while part:
            at_most = self._least + way // part
            part //= 2
            if part and at_most <= self.at_least:
                continue
            if not self._search(growth, at_most, stop):
                return False
            if self._found():
                return True
            self.at_least = at_most + 1
        return False

    def _by_cuts(self, to_go: CostToGo, plan: Partition, stop: Callable[[], bool]) -> bool:
        """First bound what moves behind each cut of the network, then try values."""
        left = None if self.max_checks is None else self.max_checks - self.checks
        to_go.search(plan, left, stop)
        self.checks, self.groups = self.checks + to_go.checks, self.groups + to_go.groups
        self.to_go = to_go.least_bytes
        self._least = self._rest(0)
        self.at_least = max(self.at_least, self._least)
        known = self.problem.plan_value(plan)
        return not self._exhausted() and self.refute(max(1, (known - self._least) // CUT_STEPS), known, stop)

    def _found(self) -> bool:
        """Whether the last search has come to the end, with the optimum then."""
        if self.problem.everything not in self._distance:
            return False
        self.at_least, self._solved = self._distance[self.problem.everything], True
        return True

    def _exhausted(self) -> bool:
        """Whether more was done than allowed."""
        if self.max_groups is not None and self.groups > self.max_groups:
            return True
        return self.max_checks is not None and self.checks > self.max_checks

    def refute(self, step: int, known: int | None = None, stop: Callable[[], bool] = never) -> bool:
        """Try values, ``step`` above the least and then in growing steps, until a plan is found; whether one was.

        ``known``: the value of a plan.
        """
        growth = self.growth = self.growth or GroupGrowth(self.problem)
        at_most = self.at_least
        while self._search(growth, at_most, stop):
            if self._found():
                return True
            self.at_least, at_most, step = at_most + 1, at_most + step, step + step // 4
            if known is not None:
                at_most = max(self.at_least, min(at_most, known))
        return False

    def partition(self) -> Partition:
        """The optimum, or the plan known where it was not found."""
        if not self._solved:
            return self.problem.unfused if self.plan is None else self.plan
        masks, end = [], self.problem.everything
        while end:
            masks.append(self._last_group[end])
            end ^= masks[-1]
        partition = self.problem.ordered(masks)
        assert partition is not None
        return partition

    def certificate(self) -> dict[str, Any]:
        """What the proof rests on; "chosen_by_heuristics" are schemes that did not try every choice of parameters."""
        oracle = self.problem.oracle
        unit = "_bytes" if oracle.objective.name == "dram" else ""
        found = {
            "method": "shortest path over the lattice of ideals",
            "ideals": self.ideals,
            "ideals_reached": self._reached,
            "groups_considered": self.groups,
            "groups_evaluated": oracle.evaluated - self._before,
            f"lower_bound{unit}": self.at_least,
            "schemes": list(oracle.schemes),
            "chosen_by_heuristics": [name for name, scheme in oracle.schemes.items() if not scheme.exact_choice],
        }
        return {key: value for key, value in found.items() if value is not None}

    def _search(self, growth: GroupGrowth, at_most: int, stop: Callable[[], bool]) -> bool:
        """Settle all ideals of plans of ``at_most``; False if it was broken off."""
        self._distance, self._last_group = {0: 0}, {}
        self._waiting = [{} for _ in range(self.problem.size + 1)]  # by operators in the ideal: smaller ones first
        self._waiting[0] = {0: []}
        number = 0
        for level in self._waiting:
            while level:
                ideal, waiting = level.popitem()
                number += 1
                if number % 16 == 0 and stop():
                    return False
                if ideal and not self._settle(ideal, waiting, at_most):
                    continue
                if not self._expand(growth, ideal, at_most, stop):
                    return False
            self._reached = max(self._reached, number)
        return True

    def _settle(self, ideal: int, waiting: list[tuple[int, int]], at_most: int) -> bool:
        """Distance of an ideal by the cheapest group that waits there; False if no plan that is good enough has it."""
        problem, best = self.problem, at_most - self._rest(ideal) + 1
        for bound, smaller in sorted(waiting):
            if bound >= best:
                break
            group = ideal ^ smaller
            valid, value, _ = problem.oracle.evaluate(group)
            if valid and self._distance[smaller] + value < best and problem.graph.is_connected(group):
                best = self._distance[smaller] + value
                self._distance[ideal], self._last_group[ideal] = best, group
        return ideal in self._distance

    def _expand(self, growth: GroupGrowth, ideal: int, at_most: int, stop: Callable[[], bool]) -> bool:
        """Let every group that may follow ``ideal`` and is not proven invalid wait at the ideal it leads to.

        False if it was broken off.
        """
        start = self._distance[ideal]
        seen: set[int] = set()
        stack = [(growth.empty, self._ready[ideal])]
        while stack:
            group, ready = stack.pop()
            for i in members(ready):
                mask = group.mask | 1 << i
                if mask in seen:
                    continue
                seen.add(mask)
                self.groups += 1
                if self.groups % _GROUPS_BETWEEN_STOPS == 0 and (stop() or self._exhausted()):
                    return False
                grown = growth.extended(group, i)
                reached = ideal | mask
                following = self._ready_after(ready, reached, i)
                bound = start + growth.least(grown)
                if (grown.alive or not group.mask) and bound + self._rest(reached) <= at_most:
                    grown = growth.checked(grown)
                    self.checks += bool(growth.others)
                    if group.mask:  # one operator always executes, layer by layer if need be
                        bound = start + growth.least(grown)
                    if not group.mask or (grown.alive and bound + self._rest(reached) <= at_most):
                        self._waiting[reached.bit_count()].setdefault(reached, []).append((bound, ideal))
                # What the group moves beyond the least it moves whatever it grows into.
                if grown.alive and (not grown.extra or start + self._rest(ideal, grown.extra) <= at_most):
                    stack.append((grown, following))
        return not self._exhausted()

    def _ready_after(self, ready: int, reached: int, i: int) -> int:
        """Operators that are ready once ``i`` has joined those executed before: with it they are ``reached``."""
        found = self._ready.get(reached)
        if found is None:
            found = ready ^ 1 << i
            for c in self._successors[i]:
                if not self._predecessors[c] & ~reached:
                    found |= 1 << c
            self._ready[reached] = found
        return found

    def _rest(self, ideal: int, extra_bytes: int = 0) -> int:
        """What the operators outside an ideal cost at least, if they move so many bytes beyond the least."""
        oracle, rest = self.problem.oracle, self.problem.everything & ~ideal
        if not rest:
            return 0
        if self.to_go is not None:
            return self.to_go(ideal) + extra_bytes
        found = self._to_go.get(ideal)
        if found is None:
            work = sum(map(oracle.objective.work.__getitem__, members(rest)))
            found = self._to_go[ideal] = oracle.least_bytes(rest), work
        return oracle.objective.least(found[0] + extra_bytes, found[1])
