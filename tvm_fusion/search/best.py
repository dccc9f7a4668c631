"""Best: the exact optimum where it can be had, otherwise interval DP and a local search from its plans."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.exact import IDEAL_LIMIT
from tvm_fusion.search.group_growth import GroupGrowth
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.interval_dp import IntervalDP, cut_order
from tvm_fusion.search.local_search import POPULATION, LocalSearch
from tvm_fusion.search.orders import order_of
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

# Work after which exact is given up: counted in groups, not seconds, so that the plan depends on the seed alone.
MAX_GROUPS = 2_000_000
MAX_CHECKS = 100_000
MAX_ORDER_CHECKS = 25_000  # after which no more orders are cut
PLANS_BETWEEN_CUTS = 200


class Best(Algorithm):
    """The default algorithm.

    Where no optimum is proven, at most a quarter of the budget goes to orders that are cut into
    intervals; then the best of those plans are edited. Every ``PLANS_BETWEEN_CUTS`` plans, a better
    plan is written as an order again and cut anew, which improves all of it at once.
    """

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
        ideal_limit: int = IDEAL_LIMIT,
        max_groups: int = MAX_GROUPS,
        max_checks: int = MAX_CHECKS,
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self.ideal_limit = ideal_limit
        self.max_groups = max_groups
        self.max_checks = max_checks
        self._phase = self._exact
        self._intervals = IntervalDP(problem, rng, splitter, stop, MAX_ORDER_CHECKS)
        self._local: LocalSearch | None = None
        self._found: dict[Partition, int] = {}
        self._interval_plans_left = 0
        self._growth: GroupGrowth | None = None
        self._recut: Partition | None = None
        self._plans_since_cut = 0

    def ask(self, limit: int) -> Sequence[Partition]:
        """Plans of the phase that the search is in."""
        return self._phase(limit)

    def tell(self, partitions: Sequence[Partition], values: Sequence[int]) -> None:
        """Every phase learns from all plans."""
        self._found.update(zip(partitions, values, strict=True))
        self._found = dict(sorted(self._found.items(), key=lambda item: (item[1], item[0]))[:POPULATION])
        if self._local is None:
            self._intervals.tell(partitions, values)
        else:
            self._local.tell(partitions, values)
            self._plans_since_cut += len(partitions)

    def _exact(self, limit: int) -> Sequence[Partition]:
        self._interval_plans_left = max(1, limit // 4)
        ideals = ideals_by_size(self.problem, self.ideal_limit, self.stop)
        if ideals is not None:
            path = IdealPath(self.problem, max_groups=self.max_groups, max_checks=self.max_checks, ideals=len(ideals))
            self.optimal = path.solve(self.stop)
            self.at_least, self.certificate = path.at_least, path.certificate()
            if self.optimal or self.stop():
                self.finished = True
                return [path.partition()]
        self._phase = self._cut_orders
        return self._cut_orders(limit)

    def _cut_orders(self, limit: int) -> Sequence[Partition]:
        plans = self._intervals.ask(1) if self._interval_plans_left > 0 else []
        self._interval_plans_left -= 1
        if plans:
            return plans
        start = list(self._found)
        self._local = LocalSearch(self.problem, self.rng, self.splitter, self.stop, start=start)
        self._recut = start[0] if start else None
        self._phase = self._edit
        return self._edit(limit)

    def _edit(self, limit: int) -> Sequence[Partition]:
        assert self._local is not None
        best = next(iter(self._found))
        if self._plans_since_cut >= PLANS_BETWEEN_CUTS and best != self._recut:
            self._plans_since_cut = 0
            self._growth = self._growth or GroupGrowth(self.problem)
            self._recut = cut_order(self.problem, order_of(best), self._growth, self.stop)
            return [self._recut]
        return self._local.ask(limit)
