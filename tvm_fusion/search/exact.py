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
from typing import Any

import numpy as np

from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import members
from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.growth import GrowthBound
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

IDEAL_LIMIT = 100_000


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

    For every ideal the groups that may end there wait, sorted by cost, and only as many of them are
    executed by the oracle as it takes to find a valid one.
    """

    problem: FusionProblem
    ideals: dict[int, int]
    max_groups: int | None = None  # give up after so many groups grown
    groups: int = 0
    _distance: dict[int, int] = field(default_factory=lambda: {0: 0})
    _last_group: dict[int, int] = field(default_factory=dict)
    _waiting: dict[int, list[tuple[int, int]]] = field(default_factory=dict)
    _before: int = 0

    def solve(self, stop: Callable[[], bool] = never) -> bool:
        """Whether the end was reached: False if ``stop`` turned true or ``max_groups`` ran out."""
        self._before = self.problem.oracle.evaluated
        bound = GrowthBound(self.problem)
        for number, (ideal, ready) in enumerate(self.ideals.items()):
            if number % 16 == 0 and stop():
                return False
            if ideal:
                self._settle(ideal)
            self._expand(bound, ideal, ready)
            if self.max_groups is not None and self.groups > self.max_groups:
                return False
        return True

    def partition(self) -> Partition:
        """The cheapest plan known: a shortest path as far as it got, every further operator alone."""
        everything = self.problem.everything
        singles = self.problem.unfused
        alone = [self.problem.group_bytes(mask) for mask in singles]

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
        """What the proof rests on."""
        return {
            "method": "shortest path over the lattice of ideals",
            "ideals": len(self.ideals),
            "groups_considered": self.groups,
            "groups_evaluated": self.problem.oracle.evaluated - self._before,
            "lower_bound_bytes": self._distance[self.problem.everything],
        }

    def _settle(self, ideal: int) -> None:
        """Distance of an ideal from the groups that wait there, cheapest first."""
        problem = self.problem
        for distance, smaller in sorted(self._waiting.pop(ideal)):
            group = ideal ^ smaller
            if problem.valid(group) and problem.graph.is_connected(group):
                self._distance[ideal] = distance
                self._last_group[ideal] = group
                return
        raise AssertionError("an ideal less one of its last operators is an ideal")

    def _expand(self, bound: GrowthBound, ideal: int, ready: int) -> None:
        """Let every group that may follow ``ideal`` and is not proven invalid wait at the ideal it leads to."""
        problem, waiting, buffer_bytes = self.problem, self._waiting, self.problem.buffer_bytes
        start = self._distance[ideal]
        ideals = self.ideals
        seen: set[int] = set()
        stack = [(0, 0, 0, ready)]
        while stack:
            group, needed, moved, ready = stack.pop()
            for i in members(ready):
                grown = group | 1 << i
                if grown in seen:
                    continue
                seen.add(grown)
                needs, moves = bound.add(group, needed, moved, i)
                fits = needs <= buffer_bytes
                if not group:
                    # One operator always executes, layer by layer if need be, which may move more.
                    moves_alone = problem.group_bytes(grown)
                    waiting.setdefault(ideal | grown, []).append((start + moves_alone, ideal))
                elif fits:
                    waiting.setdefault(ideal | grown, []).append((start + moves, ideal))
                if fits:
                    stack.append((grown, needs, moves, ideals[ideal | grown]))
        self.groups += len(seen)
