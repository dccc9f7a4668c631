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

import numpy as np

from tvm_fusion.errors import SearchError
from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter

IDEAL_LIMIT = 100_000


class Exact(Algorithm):
    """Proposes one plan: the optimum, or at the time limit the best cut of an order."""

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
        path = IdealPath(self.problem, ideals=len(ideals))
        self.optimal = path.solve(self.stop)
        self.at_least, self.certificate = path.at_least, path.certificate()
        return [path.partition()]
