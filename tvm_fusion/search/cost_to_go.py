"""CostToGo: DRAM bytes that any plan moves at least after an ideal; more than inputs, outputs and weights once each.

Where a single tensor T, made by operator p, leads from the operators up to p to all others, a plan falls into two
parts there: groups before and groups behind the cut, and at most one group that crosses it (a group is connected). Of
that one the part behind the cut needs no more on chip, and adds no more to the least traffic, than if p made T from
nothing: so the least that moves behind the cut is that of the network in which p is such a *source*. Groups without
the source are groups of the network itself. One with it counts with its inputs, outputs and weights, once each, as
soon as some scheme may execute it; the source alone writes T.

Before the cut everything moves once at least. So what moves after an ideal is bounded by the next cut behind it; and
with these bounds the network behind one cut is searched quickly once the next ones are known, from the last to the
first ("Russian dolls": Verfaillie, Lemaitre, Schiex, AAAI 1996).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.bottlenecks import bottlenecks
from tvm_fusion.search.algorithm import never
from tvm_fusion.search.group_growth import GroupGrowth
from tvm_fusion.search.growth_behind import GrowthBehind
from tvm_fusion.search.oracle_behind import OracleBehind
from tvm_fusion.search.problem import FusionProblem, Partition

CUT_STEPS = 64  # the first value tried behind a cut is above the least by this part of what a plan moves beyond that


class CostToGo:
    """Lower bounds of what moves after ideals of ``problem``, by the bottlenecks of its graph."""

    def __init__(self, problem: FusionProblem, growth: GroupGrowth) -> None:
        self.problem, self.growth, self.oracle = problem, growth, problem.oracle
        self.cuts = bottlenecks(problem.graph)
        self.groups = self.checks = 0
        self._solved: list[int] = []  # ascending
        self._behind: dict[int, int] = {}  # by cut the least bytes of the network behind it
        self._known: dict[int, int] = {}

    def search(self, plan: Partition, most_checks: int | None = None, stop: Callable[[], bool] = never) -> None:
        """Bounds of cuts, from the last to the first, as far as ``most_checks`` groups allow.

        ``plan``: one that is known. No better bound is looked for than what it moves behind a cut.
        """
        from tvm_fusion.search.ideal_path import IdealPath

        step = max(1, (self.problem.plan_value(plan) - self.least_bytes(0)) // CUT_STEPS)
        for p in reversed(self.cuts):
            if stop() or (most_checks is not None and self.checks > most_checks):
                break
            try:
                oracle = OracleBehind(self.oracle, p)
            except SchemeError:
                continue
            problem = FusionProblem(oracle.graph, oracle)
            path = IdealPath(problem, growth=GrowthBehind(self.growth, oracle), to_go=self._after(oracle),
                             max_checks=None if most_checks is None else most_checks - self.checks)  # fmt: skip
            path.refute(step, _moved_behind(plan, oracle), stop)
            self.checks += path.checks
            self.groups += path.groups
            self._behind[p] = path.at_least
            self._solved.insert(0, p)
            self._known.clear()

    def least_bytes(self, ideal: int) -> int:
        """Bytes that move after an ideal at least."""
        found = self._known.get(ideal)
        if found is None:
            found = self._known[ideal] = self._least_bytes(ideal)
        return found

    def _least_bytes(self, ideal: int) -> int:
        found = 0
        rest = self.problem.everything & ~ideal
        for p in self._solved[bisect_left(self._solved, ideal.bit_length() - 1) :]:
            before = rest & (2 << p) - 1
            found = max(found, self._through(self.oracle, before, p))
            if before >> p & 1:
                return found
        return max(found, self.oracle.least_bytes(rest))

    def _through(self, oracle: Oracle, before: int, p: int) -> int:
        """What moves at least for the operators ``before`` (of ``oracle``) up to bottleneck p and for all behind it.

        Its tensor is written by a group with the source, or by one before the cut; perhaps it was long ago.
        """
        return oracle.least_bytes(before) + self._behind[p] - self.oracle.sizes.tensor_bytes[p]

    def _after(self, oracle: OracleBehind) -> Callable[[int], int]:
        """The same of ideals behind a bottleneck, of which all later ones are solved."""
        p = oracle.p
        below = (1 << p) - 1
        following = self._solved[0] if self._solved else None
        until = (1 << len(oracle.graph)) - 1 if following is None else ((2 << following) - 1) >> p

        def least_bytes(ideal: int) -> int:
            if ideal & 1:
                return self.least_bytes(ideal << p | below)
            before = until & ~ideal
            return oracle.least_bytes(before) if following is None else self._through(oracle, before, following)

        return least_bytes


def _moved_behind(plan: Partition, oracle: OracleBehind) -> int | None:
    """What a plan moves behind a cut, where the part of the group that crosses it may execute; else None."""
    found = [oracle.evaluate(mask >> oracle.p) for mask in plan if mask >> oracle.p]
    return sum(value for _, value, _ in found) if all(valid for valid, _, _ in found) else None
