"""LowerBound: DRAM bytes that no acyclic partition into connected valid groups can go below.

Give every operator a price such that no valid group costs less than the prices of its operators together. A plan has
every operator in one group, so it costs at least the sum of all prices. The best prices are the dual of covering the
operators by groups (:mod:`tvm_fusion.search.group_prices`), where groups are missing that nobody has met yet. One sweep
finds groups, and makes the prices sound:

Order the operators, the lightest weights first. A group whose last operator is r holds beside it only operators before
r, whose prices are settled. So it is enough to lower the price of r to the least that any such group costs less the
prices of its others. :mod:`tvm_fusion.search.group_programme` bounds that by an integer programme over a relaxation of
groups: all that a group certainly needs (:mod:`tvm_fusion.search.requirement`) and moves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from math import gcd
from typing import Any

import numpy as np

from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import members
from tvm_fusion.search.certain_prices import certain_prices
from tvm_fusion.search.group_cover import cheapest_cover
from tvm_fusion.search.group_prices import GroupPrices
from tvm_fusion.search.group_programme import GroupProgramme
from tvm_fusion.search.group_roots import group_roots
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.requirement import Requirement
from tvm_fusion.search.requirements import requirement_of

NODE_LIMIT = 1000
MOST_WORK = 12_000_000  # of sweeps that nobody asked for, see work_of_a_sweep
REPEATS = 8  # solutions of one root in one sweep that are no group, before its bound is taken as it is
_NOISE = 1e-4  # of a byte, in prices that should be whole; any prices are made sound
PLAN_GROUPS = 3000  # of which a plan is made at most
SMOOTHING = 0.5  # part of the best prices so far in those tried next


class LowerBound:
    """Starts from what certainly moves; every call of :meth:`improve` makes ``bytes`` larger or leaves it.

    ``groups`` are masks to begin with, such as those of good plans; invalid ones are ignored. Without a
    ``requirement`` that of the oracle's schemes; where one of them has none, nothing can be improved. Raises
    SearchError where the problem does not minimise DRAM bytes.
    """

    def __init__(
        self, problem: FusionProblem, requirement: Requirement | None = None, groups: Iterable[int] = ()
    ) -> None:
        if problem.oracle.objective.name != "dram":
            raise SearchError(f"a lower bound is one of DRAM bytes, not of objective {problem.oracle.objective.name!r}")
        self.problem = problem
        self._requirement = requirement or requirement_of(problem)
        self.finished = self._requirement is None
        self.sweeps = 0
        self.programmes = 0
        self._groups = groups
        self._most = [problem.group_value(1 << i) for i in range(problem.size)]
        sizes = problem.oracle.sizes
        self._unit = 1
        if set(problem.oracle.schemes) <= {"lbdf", "layer"}:  # others may move parts of tensors
            self._unit = gcd(*sizes.tensor_bytes.values(), *sizes.weight_bytes, *self._most)
        needed = self._requirement.needed_bytes if self._requirement is not None else lambda _: 0
        self._alone = sum(1 << i for i in range(problem.size) if needed(i) > problem.buffer_bytes)
        self._best = certain_prices(problem, self._alone)
        self.bytes = max(problem.oracle.compulsory_dram_bytes, sum(self._best))
        self._method = "what moves in every plan"
        self._known: GroupPrices | None = None
        self._smoothing = SMOOTHING
        self._order: list[tuple[int, int]] = []
        self._programmes: dict[int, GroupProgramme] = {}
        self._dearer: dict[int, list[int]] = {}

    def run(self, seconds: float | None = None, goal_bytes: int | None = None) -> None:
        """Improve for so many seconds, or until no plan of ``goal_bytes`` can be improved.

        Without ``seconds`` by a fixed amount of work, some ten seconds at most: the same groups give the same bound.
        """
        until = None if seconds is None else time.perf_counter() + seconds
        work = 0
        while goal_bytes is None or self.bytes < goal_bytes:
            work += self.work_of_a_sweep()
            if time.perf_counter() >= until if until is not None else work > MOST_WORK:
                break
            if not self.improve(until):
                break

    def work_of_a_sweep(self) -> int:
        """A measure of the time that a sweep takes, the same on every machine; a million is about a second."""
        if not self._order and self._requirement is not None:
            self._order = group_roots(self.problem, self._requirement, self._alone)
        sizes = (domain.bit_count() for _, domain in self._order)
        return sum(20_000 + size * size for size in sizes if size > 1)

    def improve(self, until: float | None = None) -> bool:
        """One sweep over all operators. False if ``until`` ended it, or nothing is left to gain (``finished``).

        ``until`` is a time of time.perf_counter(). Without it the bound depends on nothing but the groups given.
        """
        if self.finished or self._requirement is None:
            return False
        if self._known is None:
            self._begin(self._requirement)
        assert self._known is not None
        value, wanted = self._known.solve()
        mixed = np.floor(self._smoothing * np.array(self._best) + (1 - self._smoothing) * wanted + _NOISE)
        prices = [min(most, int(price)) for most, price in zip(self._most, mixed, strict=True)]
        found: list[int] = []
        for root, domain in self._order:
            if until is not None and time.perf_counter() >= until:
                return False
            prices[root] = self._price(root, domain, prices, found, until)
        self.sweeps += 1
        total = sum(prices)
        if total > sum(self._best):
            self._best = prices
        if total > self.bytes:
            # What any plan moves is a multiple of the unit.
            self.bytes = -(-total // self._unit) * self._unit
            self._method = "prices of operators that no group undercuts"
        gains = [sum(wanted[i] for i in members(mask)) - self.problem.group_value(mask) for mask in found]
        self._learn(found)
        if value - self.bytes < 1:
            self.finished = True
        elif max(gains, default=0) > 1:
            self._smoothing = SMOOTHING
        else:
            # No group was found that changes the prices wanted: try these themselves.
            self.finished = not self._smoothing
            self._smoothing = 0.0
        return not self.finished

    def plan(self, below_bytes: int, seconds: float | None = None) -> Partition | None:
        """A plan of the groups met that moves less than ``below_bytes``, if an integer programme finds one in time."""
        if self._known is None:
            return None
        value, prices = self._known.solve()
        # Groups that cost more cannot be in such a plan: prices of the optimum over the groups known say so.
        masks, moved = self._known.promising(prices, below_bytes - value, PLAN_GROUPS)
        return cheapest_cover(self.problem, masks, moved, below_bytes, seconds)

    def certificate(self) -> dict[str, Any]:
        """What the bound rests on."""
        return {
            "method": self._method,
            "lower_bound_bytes": self.bytes,
            "schemes": list(self.problem.oracle.schemes),
            "sweeps": self.sweeps,
            "programmes_solved": self.programmes,
            "groups_known": 0 if self._known is None else len(self._known),
        }

    def _begin(self, requirement: Requirement) -> None:
        self._known = GroupPrices(self.problem.size)
        for i, moved in enumerate(self._most):
            self._known.add(1 << i, moved)
        self._learn(self._groups)
        if not self._order:
            self._order = group_roots(self.problem, requirement, self._alone)

    def _learn(self, groups: Iterable[int]) -> None:
        assert self._known is not None
        for mask in groups:
            if self.problem.valid(mask) and self.problem.graph.is_connected(mask):
                self._known.add(mask, self.problem.group_value(mask))

    def _programme(self, root: int, domain: int) -> GroupProgramme:
        found = self._programmes.get(root)
        if found is None:
            found = self._programmes[root] = GroupProgramme(self.problem, root, domain)
            assert self._requirement is not None
            found.require(self._requirement)
            self._dearer[root] = []
        return found

    def _price(self, root: int, domain: int, prices: list[int], found: list[int], until: float | None) -> int:
        """The price of ``root`` at which no group gains whose last operator it is; groups met go to ``found``."""
        problem = self.problem
        if domain == 1 << root:
            return prices[root]
        programme = self._programme(root, domain)
        gains: list[int] = []
        for _ in range(REPEATS):
            left = None if until is None else until - time.perf_counter()
            best = programme.best(prices, NODE_LIMIT, left)
            self.programmes += 1
            gains = [] if best.gain_bytes is None else [best.gain_bytes]
            mask = best.mask
            if not mask or best.gain_bytes is None or best.gain_bytes <= 0:
                break
            parts = problem.graph.components(mask)
            if len(parts) > 1:
                found += [part for part in parts if problem.valid(part)]
                programme.connect(mask)
            elif not problem.valid(mask):
                programme.exclude(mask)
            else:
                found.append(mask)
                if problem.group_value(mask) <= problem.oracle.least_bytes(mask):
                    break
                # It costs more than the programme knows: leave it out there, and hold it against the price here.
                programme.exclude(mask)
                self._dearer[root].append(mask)
        gains += [sum(prices[i] for i in members(mask)) - problem.group_value(mask) for mask in self._dearer[root]]
        return prices[root] - max(0, *gains) if gains else prices[root]
