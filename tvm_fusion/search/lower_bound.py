"""LowerBound: DRAM bytes that no acyclic partition into connected valid groups can go below.

Give every operator a price so that no valid group costs less than the prices of its operators. A plan has
every operator in one group, so it costs at least the sum of all prices. The best such prices are the dual of covering
the operators by groups; they are found by generating groups, and any set of prices is made sound by one sweep:

Order the operators, lightest first. The groups whose last operator is r hold beside it only operators before it, whose
prices are settled. Then the price of r may be the least that any such group costs less the prices of its others, or
what r costs alone. :class:`~tvm_fusion.search.group_programme.GroupProgramme` bounds this from below by an integer
programme over a relaxation: everything that a group certainly needs and moves.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from tvm_fusion.graph.graph import members
from tvm_fusion.search.algorithm import never
from tvm_fusion.search.group_prices import GroupPrices
from tvm_fusion.search.group_programme import GroupProgramme
from tvm_fusion.search.line_buffer_requirement import LineBufferRequirement
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.requirement import Requirement

NODE_LIMIT = 1000
REPEATS = 8  # solutions of one root in one sweep that are no group, before its bound is taken as it is
SMOOTHING = 0.5  # part of the best prices so far in those tried next


class LowerBound:
    """Starts from what certainly moves; every call of :meth:`improve` makes ``bytes`` larger or leaves it.

    ``groups`` are masks to begin with, such as those of good plans; invalid ones are ignored.
    """

    def __init__(
        self, problem: FusionProblem, requirement: Requirement | None = None, groups: Iterable[int] = ()
    ) -> None:
        self.problem = problem
        self._requirement = requirement or LineBufferRequirement(problem)
        self._alone_bytes = [problem.group_bytes(1 << i) for i in range(problem.size)]
        buffer_bytes = problem.buffer_bytes
        self._alone = sum(
            1 << i for i in range(problem.size) if self._requirement.needed_bytes(i) > buffer_bytes
        )
        self.bytes = max(problem.oracle.compulsory_dram_bytes, self._certain_bytes())
        self.finished = False
        self.sweeps = 0
        self.programmes = 0
        self._method = "what moves in every plan"
        self._prices = GroupPrices(problem.size)
        for i, moved in enumerate(self._alone_bytes):
            self._prices.add(1 << i, moved)
        self._learn(groups)
        self._best: np.ndarray | None = None
        self._smoothing = 0.0
        self._order: list[tuple[int, int]] = []
        self._programmes: dict[int, GroupProgramme] = {}
        self._settled: dict[int, list[int]] = {}

    def improve(self, stop: Callable[[], bool] = never, until: float | None = None) -> bool:
        """One sweep over all operators. False if it was not completed, or nothing is left to gain (``finished``).

        ``stop`` is asked between two programmes, ``until`` (of time.perf_counter) ends the sweep inside one. Without them the
        bound depends on the groups given alone.
        """
        if self.finished:
            return False
        if not self._order:
            self._order = self._roots()
        value, wanted = self._prices.solve()
        mixed = wanted if self._best is None else self._smoothing * self._best + (1 - self._smoothing) * wanted
        prices = [min(alone, int(price)) for alone, price in zip(self._alone_bytes, np.floor(mixed), strict=True)]
        found: list[int] = []
        for root, domain in self._order:
            if stop() or (until is not None and time.perf_counter() >= until):
                return False
            prices[root] = self._price(root, domain, prices, found, until)
        self.sweeps += 1
        total = sum(prices)
        if self._best is None or total > self._best.sum():
            self._best = np.array(prices, dtype=float)
        if total > self.bytes:
            self.bytes = total
            self._method = "prices of operators that no group undercuts"
        gains = [sum(wanted[i] for i in members(mask)) - self.problem.group_bytes(mask) for mask in found]
        self._learn(found)
        if max(gains, default=0) <= 1:
            # The prices tried brought no group that changes those wanted: try these themselves.
            self.finished = self._smoothing == 0 or value - self.bytes < 1
            self._smoothing = 0.0
        else:
            self._smoothing = SMOOTHING
        return not self.finished

    def certificate(self) -> dict[str, Any]:
        """What the bound rests on."""
        return {
            "method": self._method,
            "lower_bound_bytes": self.bytes,
            "sweeps": self.sweeps,
            "programmes_solved": self.programmes,
            "groups_known": len(self._prices),
        }

    def _learn(self, groups: Iterable[int]) -> None:
        problem = self.problem
        for mask in groups:
            if problem.valid(mask) and problem.graph.is_connected(mask):
                self._prices.add(mask, problem.group_bytes(mask))

    def _certain_bytes(self) -> int:
        """Operators that must stand alone as they are; of the others the weights, and what they exchange with those."""
        graph, sizes = self.problem.graph, self.problem.oracle.sizes
        alone = self._alone
        others = self.problem.everything & ~alone
        total = sum(self._alone_bytes[i] for i in members(alone)) + sizes.weights(others)
        for t, readers in graph.consumers.items():
            made_alone = t < 0 or alone >> t & 1
            if made_alone:
                total += sizes.tensor_bytes[t] * any(others >> c & 1 for c in readers)
            else:
                total += sizes.tensor_bytes[t] * bool(
                    graph.output_mask >> t & 1 or any(alone >> c & 1 for c in readers)
                )
        return total

    def _roots(self) -> list[tuple[int, int]]:
        """Every operator, lightest first, with those before it that it may share a group with (a mask)."""
        weight_bytes = self.problem.oracle.sizes.weight_bytes
        order = sorted(range(self.problem.size), key=lambda i: (weight_bytes[i], -i))
        allowed = 0
        found = []
        for i in order:
            if not self._alone >> i & 1:
                allowed |= 1 << i
                found.append((i, self._near(i, allowed)))
        for i in members(self._alone):
            found.append((i, 1 << i))
        return found

    def _near(self, root: int, allowed: int) -> int:
        """Operators for which a connected set with the root exists that may fit: least bytes along a path (Dijkstra)."""
        neighbours, added = self.problem.graph.neighbour_masks, self._requirement.added_bytes
        needed = {root: added(root)}
        waiting = [(needed[root], root)]
        reached = 0
        while waiting:
            bytes_, i = heapq.heappop(waiting)
            if reached >> i & 1:
                continue
            reached |= 1 << i
            for k in members(neighbours[i] & allowed & ~reached):
                total = bytes_ + added(k)
                if total <= self.problem.buffer_bytes and total < needed.get(k, total + 1):
                    needed[k] = total
                    heapq.heappush(waiting, (total, k))
        return reached

    def _price(self, root: int, domain: int, prices: list[int], found: list[int], until: float | None) -> int:
        """The most that ``root`` may be priced at, the others of its domain being settled; groups met go to ``found``."""
        problem = self.problem
        if domain == 1 << root:
            return prices[root]
        programme = self._programmes.get(root)
        if programme is None:
            programme = self._programmes[root] = GroupProgramme(problem, root, domain)
            programme.at_least([(variable, -value) for variable, value in self._requirement.add_to(programme)], -1)
            self._settled[root] = []
        for _ in range(REPEATS):
            left = None if until is None else until - time.perf_counter()
            best = programme.best(prices, NODE_LIMIT, left)
            self.programmes += 1
            mask = best.mask
            if not mask:
                break
            parts = problem.graph.components(mask)
            if len(parts) > 1:
                found += [part for part in parts if problem.valid(part)]
                programme.connect(mask)
                continue
            gain = sum(prices[i] for i in members(mask))
            if not problem.valid(mask):
                programme.exclude(mask)
                continue
            found.append(mask)
            if gain - problem.group_bytes(mask) >= best.gain_bytes:
                break
            if gain - self._relaxed_bytes(mask) < best.gain_bytes:
                break  # the solver was stopped: its bound is above its solution
            programme.exclude(mask)
            self._settled[root].append(mask)
        gains = [] if best.gain_bytes is None else [best.gain_bytes]
        gains += [sum(prices[i] for i in members(mask)) - problem.group_bytes(mask) for mask in self._settled[root]]
        return min([prices[root], *(prices[root] - gain for gain in gains)])

    def _relaxed_bytes(self, mask: int) -> int:
        sizes = self.problem.oracle.sizes
        return sum(sizes.boundary_bytes(mask)) + sizes.weights(mask)
