"""RandomSearch: a new random plan at every step, repaired by the splitter."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Sequence

from tvm_fusion.search.algorithm import Algorithm
from tvm_fusion.search.problem import Partition
from tvm_fusion.search.random_plan import random_plan
from tvm_fusion.search.split import repair


class RandomSearch(Algorithm):
    """Proposes one plan at a time and learns nothing."""

    def ask(self, limit: int) -> Sequence[Partition]:
        """A random plan."""
        return [repaired_plan(self)]


def repaired_plan(algorithm: Algorithm) -> Partition:
    """A random plan with its invalid groups split."""
    problem, rng = algorithm.problem, algorithm.rng
    return proposed(algorithm, random_plan(problem, rng))


def proposed(algorithm: Algorithm, masks: list[int]) -> Partition:
    """The complete, valid partition that an algorithm proposes when it makes ``masks``."""
    problem = algorithm.problem
    partition = problem.ordered(repair(problem, masks, algorithm.splitter, algorithm.rng))
    assert partition is not None, "moves and splitters keep a partition acyclic"
    return partition
