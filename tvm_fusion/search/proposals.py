"""What algorithms propose: complete plans whose invalid groups are repaired, several at a time."""

from __future__ import annotations

from collections.abc import Sequence

from tvm_fusion.search.algorithm import Algorithm
from tvm_fusion.search.problem import Partition
from tvm_fusion.search.random_plan import random_plan
from tvm_fusion.search.split import repair


def repaired_plans(algorithm: Algorithm, plans: Sequence[Sequence[int]]) -> list[Partition]:
    """The complete, valid partition that an algorithm proposes for each of ``plans`` that it makes."""
    problem, splitter = algorithm.problem, algorithm.splitter
    splitter.prepare(problem, [mask for masks in plans for mask in masks if not problem.valid(mask)])
    found = []
    for masks in plans:
        partition = problem.ordered(repair(problem, list(masks), splitter, algorithm.rng))
        assert partition is not None, "moves and splitters keep a partition acyclic"
        found.append(partition)
    return found


def random_plans(algorithm: Algorithm, count: int) -> list[Partition]:
    """``count`` random plans with their invalid groups split."""
    return repaired_plans(algorithm, [random_plan(algorithm.problem, algorithm.rng) for _ in range(count)])
