"""LocalSearch: a population of the best K plans, one random edit of each at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.moves import random_move
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.proposals import random_plans, repaired_plans
from tvm_fusion.search.random_plan import random_plan
from tvm_fusion.search.split import Splitter

POPULATION = 10
ATTEMPTS = 50


class LocalSearch(Algorithm):
    """Starts from ``start``, or else from random plans; parents and edits compete for the next population.

    Equal plans count once in a population. Only edited groups cost time: the oracle knows the others.
    """

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
        population: int = POPULATION,
        start: Sequence[Partition] = (),
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self.population = population
        self._plans: dict[Partition, int] = {plan: problem.plan_value(plan) for plan in start}

    def ask(self, limit: int) -> Sequence[Partition]:
        """One edit of every plan of the population; at first, random plans."""
        if not self._plans:
            return random_plans(self, min(limit, self.population))
        return repaired_plans(self, [self._edited(plan) for plan in list(self._plans)[:limit]])

    def tell(self, partitions: Sequence[Partition], values: Sequence[int]) -> None:
        """Keep the best plans; of equally good ones those that come first in a fixed order."""
        self._plans.update(zip(partitions, values, strict=True))
        best = sorted(self._plans.items(), key=lambda item: (item[1], item[0]))
        self._plans = dict(best[: self.population])

    def _edited(self, plan: Partition) -> list[int]:
        for _ in range(ATTEMPTS):
            masks = random_move(self.problem, plan, self.rng)
            if masks is not None:
                return masks
        return random_plan(self.problem, self.rng)
