"""Exact: the proven optimum over all acyclic partitions, as a shortest path over ideals.

Order the groups of an acyclic partition topologically: the operators of the first k groups are closed
under predecessors, an *ideal*, and each group is the difference of two ideals. Conversely every chain of
ideals is an acyclic partition. So the cheapest chain from the empty ideal to the whole graph, over
differences that are connected and valid, is the optimum. (Groups of a plan are connected by definition.
Differences that are not may be skipped: their parts are groups of a longer chain.)
"""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np

from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import members
from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.group_growth import GroupGrowth
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.interval_dp import cut_order
from tvm_fusion.search.orders import topological_orders
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

IDEAL_LIMIT = 100_000
_ORDERS = 4  # those that take no random numbers, for a plan to begin with


class Exact(Algorithm):
    """Proposes one plan: the optimum, or at the time limit the best prefix of it with the rest unfused."""

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
        ideal_limit: int = IDEAL_LIMIT,
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self.ideal_limit = ideal_limit

    def ask(self, limit: int) -> Sequence[Partition]:
        """The optimum. Raises SearchError if the graph has too many ideals."""
        self.finished = True
        ideals = ideals_by_size(self.problem, self.ideal_limit, self.stop)
        if ideals is None:
            if self.stop():
                return []
            raise SearchError(
                f"network {self.problem.graph.name!r} has more than {self.ideal_limit} ideals, too many for 'exact'; "
                "use 'interval-dp' or 'best'"
            )
        path = IdealPath(self.problem, ideals)
        if path.solve(self.stop):
            self.optimal = True
            self.certificate = path.certificate()
        return [path.partition()]


@dataclass
class IdealPath:
    """Shortest path over ``ideals`` (smaller ones first, each with its ready operators).

    For every ideal the groups that may end there wait, sorted by a bound of their cost, and only as many of them are
    evaluated by the oracle as it takes to find the cheapest. ``at_most`` is the cost of some plan: what must cost more
    is left out.
    """

    problem: FusionProblem
    ideals: dict[int, int]
    max_groups: int | None = None  # give up after so many groups grown,
    max_checks: int | None = None  # or so many of which schemes beside LBDF were asked: that takes longer
    at_most: int | None = None
    groups: int = 0
    checks: int = 0
    _distance: dict[int, int] = field(default_factory=lambda: {0: 0})
    _last_group: dict[int, int] = field(default_factory=dict)
    _waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _to_go: dict[int, tuple[int, float]] = field(default_factory=dict)
    _before: int = 0

    def solve(self, stop: Callable[[], bool] = never) -> bool:
        """Whether the end was reached: False if ``stop`` turned true or there was more to do than allowed."""
        self._before = self.problem.oracle.evaluated
        growth = GroupGrowth(self.problem)
        if self.at_most is None:
            orders = islice(topological_orders(self.problem, np.random.default_rng(0)), _ORDERS)
            plans = (cut_order(self.problem, order, growth, stop) for order in orders)
            self.at_most = min(map(self.problem.plan_value, plans))
        for number, (ideal, ready) in enumerate(self.ideals.items()):
            if number % 16 == 0 and stop():
                return False
            if ideal and not self._settle(ideal):
                continue
            self._expand(growth, ideal, ready)
            if self.max_groups is not None and self.groups > self.max_groups:
                return False
            if self.max_checks is not None and self.checks > self.max_checks:
                return False
        return True

    def partition(self) -> Partition:
        """The cheapest plan known: a shortest path as far as it got, every further operator alone."""
        everything = self.problem.everything
        singles = self.problem.unfused
        alone = [self.problem.group_value(mask) for mask in singles]

        def total(ideal: int) -> int:
            return self._distance[ideal] + sum(alone[i] for i in members(everything & ~ideal))

        end = everything if everything in self._distance else min(self._distance, key=total)
        masks = [mask for mask in singles if not mask & end]
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
        return {
            "method": "shortest path over the lattice of ideals",
            "ideals": len(self.ideals),
            "groups_considered": self.groups,
            "groups_evaluated": oracle.evaluated - self._before,
            f"lower_bound{unit}": self._distance[self.problem.everything],
            "schemes": list(oracle.schemes),
            "chosen_by_heuristics": [name for name, scheme in oracle.schemes.items() if not scheme.exact_choice],
        }

    def _settle(self, ideal: int) -> bool:
        """Distance of an ideal by the cheapest group that waits there; False if no plan that is good enough has it."""
        problem, best = self.problem, self._at_most() - self._rest(ideal) + 1
        for bound, smaller in sorted(self._waiting.pop(ideal, ())):
            if bound >= best:
                break
            group = ideal ^ smaller
            valid, value, _ = problem.oracle.evaluate(group)
            if valid and self._distance[smaller] + value < best and problem.graph.is_connected(group):
                best = self._distance[smaller] + value
                self._distance[ideal], self._last_group[ideal] = best, group
        return ideal in self._distance

    def _expand(self, growth: GroupGrowth, ideal: int, ready: int) -> None:
        """Let every group that may follow ``ideal`` and is not proven invalid wait at the ideal it leads to."""
        ideals, waiting, start = self.ideals, self._waiting, self._distance[ideal]
        at_most = self._at_most()
        seen: set[int] = set()
        stack = [(growth.empty, ready)]
        while stack:
            group, ready = stack.pop()
            for i in members(ready):
                mask = group.mask | 1 << i
                if mask in seen:
                    continue
                seen.add(mask)
                grown = growth.extended(group, i)
                reached = ideal | mask
                bound = start + growth.least(grown)
                if (grown.alive or not group.mask) and bound + self._rest(reached) <= at_most:
                    grown = growth.checked(grown)
                    self.checks += bool(growth.others)
                    if group.mask:  # one operator always executes, layer by layer if need be
                        bound = start + growth.least(grown)
                    if not group.mask or (grown.alive and bound + self._rest(reached) <= at_most):
                        waiting.setdefault(reached, []).append((bound, ideal))
                # What the group moves beyond the least it moves whatever it grows into.
                if grown.alive and (not grown.extra or start + self._rest(ideal, grown.extra) <= at_most):
                    stack.append((grown, ideals[reached]))
        self.groups += len(seen)

    def _at_most(self) -> int:
        assert self.at_most is not None, "solve sets it"
        return self.at_most

    def _rest(self, ideal: int, extra_bytes: int = 0) -> int:
        """What the operators outside an ideal cost at least, if they move so many bytes beyond the least."""
        oracle, rest = self.problem.oracle, self.problem.everything & ~ideal
        if not rest:
            return 0
        found = self._to_go.get(ideal)
        if found is None:
            work = sum(map(oracle.objective.work.__getitem__, members(rest)))
            found = self._to_go[ideal] = oracle.least_bytes(rest), work
        return oracle.objective.least(found[0] + extra_bytes, found[1])
