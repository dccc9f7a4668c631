"""random_plan: any acyclic partition, by chance."""

from __future__ import annotations

import numpy as np

from tvm_fusion.search.problem import FusionProblem


def random_plan(problem: FusionProblem, rng: np.random.Generator) -> list[int]:
    """Connected groups of a random acyclic partition in execution order; they need not fit the buffer.

    A random topological order is cut at random places; the mean length of a piece is itself random, from
    one operator to the whole network (log-uniform). Every acyclic partition can come out.
    """
    order = problem.random_order(problem.everything, rng)
    cut_probability = problem.size ** -rng.random()
    groups = []
    piece = 0
    cuts = rng.random(len(order)) < cut_probability
    for i, cut in zip(order, cuts, strict=True):
        piece |= 1 << i
        if cut:
            groups += problem.graph.components(piece)
            piece = 0
    return groups + problem.graph.components(piece)
