"""Splitter: the interface of whatever repairs an invalid group by splitting it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tvm_fusion.search.problem import FusionProblem


@dataclass(slots=True)
class RepairCounts:
    """What became of the invalid groups that a search met.

    ``rectified``: made valid by their own explanation alone. ``explained_again``: parts of them that were still
    invalid and got an explanation of their own. ``split_at_random``: groups that went to the random split.
    """

    invalid_groups: int = 0
    rectified: int = 0
    explained_again: int = 0
    split_at_random: int = 0

    @property
    def rectify_rate(self) -> float:
        """Part of the invalid groups that their own explanation sufficed for; 0 where there were none."""
        return self.rectified / self.invalid_groups if self.invalid_groups else 0.0


class Splitter(ABC):
    """Splits a group of an acyclic partition so that the whole stays acyclic; ``counts`` what it met."""

    def __init__(self) -> None:
        self.counts = RepairCounts()

    @abstractmethod
    def split(self, problem: FusionProblem, mask: int, rng: np.random.Generator) -> list[int]:
        """Disjoint, connected parts that cover ``mask``, each valid (a single operator always is), in execution order.

        ``mask`` is convex: no path leaves it and comes back. It need not be connected.
        """

    def prepare(self, problem: FusionProblem, masks: Sequence[int]) -> None:  # noqa: B027
        """``masks`` will be split soon: a chance to do what is quicker for many at once."""


def repair(problem: FusionProblem, masks: list[int], splitter: Splitter, rng: np.random.Generator) -> list[int]:
    """``masks`` with every invalid group replaced by its parts."""
    repaired = []
    for mask in masks:
        if problem.valid(mask):
            repaired.append(mask)
        else:
            repaired += splitter.split(problem, mask, rng)
    return repaired
