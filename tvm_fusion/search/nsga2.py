"""Nsga2: a genetic search through pymoo, with partitions for chromosomes."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from pymoo.algorithms.moo.nsga2 import NSGA2
from pymoo.core.crossover import Crossover
from pymoo.core.duplicate import ElementwiseDuplicateElimination
from pymoo.core.mutation import Mutation
from pymoo.core.problem import ElementwiseProblem
from pymoo.core.repair import Repair
from pymoo.core.sampling import Sampling
from pymoo.core.termination import NoTermination

from tvm_fusion.search.algorithm import Algorithm, never
from tvm_fusion.search.moves import random_move
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.proposals import repaired_plans
from tvm_fusion.search.random_plan import random_plan
from tvm_fusion.search.recombine import Block, common_blocks, recombine
from tvm_fusion.search.split import Splitter

POPULATION = 10


@dataclass(frozen=True, slots=True, eq=False)
class _Chromosome:
    """A plan, and the bytes by which its groups exceeded the buffer before the repair (-1: not repaired yet)."""

    partition: Partition
    excess_bytes: int = -1


class Nsga2(Algorithm):
    """Two objectives: DRAM bytes of the plan, and by how much it exceeded the buffer before its repair.

    Crossover exchanges whole blocks that both parents cut into groups (:mod:`.recombine`), mutation is
    one move of the local search.
    """

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
        population: int = POPULATION,
    ) -> None:
        super().__init__(problem, rng, splitter, stop)
        self.population = population
        self._asked: Any = None
        self._genetic = NSGA2(
            pop_size=population,
            sampling=_RandomPlans(self),
            crossover=_ExchangeBlocks(self),
            mutation=_OneMove(self),
            repair=_SplitInvalid(self),
            eliminate_duplicates=_SamePlan(),
        )
        self._genetic.setup(_PlanCosts(problem), termination=NoTermination(), seed=int(rng.integers(2**31)))

    def ask(self, limit: int) -> Sequence[Partition]:
        """The offspring of one generation; none when no new plan can be bred (small graphs)."""
        self._genetic.n_offsprings = min(self.population, limit)
        if not self._genetic.is_initialized:
            self._genetic.pop_size = min(self.population, limit)
        self._asked = self._genetic.ask()
        self._genetic.pop_size = self.population
        if self._asked is None or not len(self._asked):
            self.finished = True
            return []
        return [chromosome.partition for (chromosome,) in self._asked.get("X")]

    def tell(self, partitions: Sequence[Partition], values: Sequence[int]) -> None:
        """Select the next population."""
        self._genetic.evaluator.eval(self._genetic.problem, self._asked)
        self._genetic.tell(infills=self._asked)


def _column(chromosomes: Sequence[_Chromosome]) -> Any:
    """Chromosomes as pymoo wants them: one variable each."""
    column = np.empty((len(chromosomes), 1), dtype=object)
    column[:, 0] = chromosomes
    return column


class _PlanCosts(ElementwiseProblem):  # type: ignore[misc]
    def __init__(self, problem: FusionProblem) -> None:
        super().__init__(n_var=1, n_obj=2)
        self.fusion = problem

    def _evaluate(self, x: Any, out: dict[str, Any], *args: Any, **kwargs: Any) -> None:
        out["F"] = [self.fusion.plan_value(x[0].partition), x[0].excess_bytes]


class _RandomPlans(Sampling):  # type: ignore[misc]
    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.algorithm = algorithm

    def _do(self, problem: Any, n_samples: int, *args: Any, **kwargs: Any) -> Any:
        algorithm = self.algorithm
        return _column([_Chromosome(tuple(random_plan(algorithm.problem, algorithm.rng))) for _ in range(n_samples)])


class _ExchangeBlocks(Crossover):  # type: ignore[misc]
    """Two children: one takes the cheaper groups in every block, the other tosses a coin for each."""

    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__(n_parents=2, n_offsprings=2)
        self.algorithm = algorithm

    def _do(self, problem: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        children = np.empty_like(x)
        for k in range(x.shape[1]):
            for child, chromosome in enumerate(self._children(x[0, k, 0].partition, x[1, k, 0].partition)):
                children[child, k, 0] = chromosome
        return children

    def _children(self, ours: Partition, theirs: Partition) -> tuple[_Chromosome, _Chromosome]:
        problem, rng = self.algorithm.problem, self.algorithm.rng
        blocks = common_blocks(problem, ours, theirs)

        def cheaper(block: Block) -> bool:
            return problem.plan_value(block.theirs) < problem.plan_value(block.ours)

        choices: tuple[Callable[[Block], bool], ...] = (cheaper, lambda _: bool(rng.integers(2)))
        greedy, mixed = (problem.ordered(recombine(blocks, choice)) for choice in choices)
        assert greedy is not None
        assert mixed is not None
        return _Chromosome(greedy), _Chromosome(mixed)


class _OneMove(Mutation):  # type: ignore[misc]
    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.algorithm = algorithm

    def _do(self, problem: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        algorithm = self.algorithm
        mutated = []
        for (chromosome,) in x:
            masks = random_move(algorithm.problem, chromosome.partition, algorithm.rng)
            mutated.append(chromosome if masks is None else _Chromosome(tuple(masks)))
        return _column(mutated)


class _SplitInvalid(Repair):  # type: ignore[misc]
    def __init__(self, algorithm: Algorithm) -> None:
        super().__init__()
        self.algorithm = algorithm

    def _do(self, problem: Any, x: Any, *args: Any, **kwargs: Any) -> Any:
        algorithm = self.algorithm
        made = [chromosome.partition for (chromosome,) in x]
        excess = [sum(map(algorithm.problem.excess_bytes, partition)) for partition in made]
        return _column([_Chromosome(*pair) for pair in zip(repaired_plans(algorithm, made), excess, strict=True)])


class _SamePlan(ElementwiseDuplicateElimination):  # type: ignore[misc]
    def is_equal(self, a: Any, b: Any) -> bool:
        return bool(a.X[0].partition == b.X[0].partition)
