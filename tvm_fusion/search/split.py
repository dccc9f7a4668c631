"""Splitter: the interface of whatever repairs an invalid group by splitting it."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from tvm_fusion.search.problem import FusionProblem


class Splitter(Protocol):
    """Splits a group of an acyclic partition so that the whole stays acyclic."""

    def split(self, problem: FusionProblem, mask: int, rng: np.random.Generator) -> list[int]:
        """Disjoint, connected parts that cover ``mask``, each valid (a single operator always is), in execution order.

        ``mask`` is convex: no path leaves it and comes back. It need not be connected.
        """


def repair(problem: FusionProblem, masks: list[int], splitter: Splitter, rng: np.random.Generator) -> list[int]:
    """``masks`` with every invalid group replaced by its parts."""
    repaired = []
    for mask in masks:
        if problem.valid(mask):
            repaired.append(mask)
        else:
            repaired += splitter.split(problem, mask, rng)
    return repaired
