"""Moves: one edit of a partition. Groups stay connected and acyclic; they may exceed the buffer."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem, Partition

Move = Callable[[FusionProblem, Partition, np.random.Generator], list[int] | None]


def random_move(problem: FusionProblem, partition: Partition, rng: np.random.Generator) -> list[int] | None:
    """One of the moves at random, or None if it found nothing to change."""
    return MOVES[int(rng.integers(len(MOVES)))](problem, partition, rng)


def merge(problem: FusionProblem, partition: Partition, rng: np.random.Generator) -> list[int] | None:
    """Two neighbouring groups become one, with every group that lies on a path between them."""
    pair = _neighbours(problem, partition, rng)
    return None if pair is None else merge_between(problem, partition, *pair)


def merge_between(problem: FusionProblem, partition: Partition, p: int, q: int) -> list[int]:
    """Merge the groups at positions ``p`` < ``q``, of which the second reads the first."""
    below = partition[p]
    for mask in partition[p + 1 : q]:
        if problem.sources(mask) & below:
            below |= mask
    merged = partition[q]
    needed = problem.sources(merged)
    for mask in reversed(partition[p:q]):
        if mask & below and mask & needed:
            merged |= mask
            needed |= problem.sources(mask)
    return [mask for mask in partition if not mask & merged] + [merged]


def split(problem: FusionProblem, partition: Partition, rng: np.random.Generator) -> list[int] | None:
    """Cut a group in two at a random place of a random topological order."""
    large = [mask for mask in partition if mask & (mask - 1)]
    if not large:
        return None
    mask = large[int(rng.integers(len(large)))]
    order = problem.random_order(mask, rng)
    head = sum(1 << i for i in order[: int(rng.integers(1, len(order)))])
    rest = [other for other in partition if other != mask]
    return rest + problem.graph.components(head) + problem.graph.components(mask & ~head)


def move(problem: FusionProblem, partition: Partition, rng: np.random.Generator) -> list[int] | None:
    """Move an operator to a neighbouring group, with what stands between them in its own group.

    Moving towards readers takes along the operators of its group that depend on it; moving towards
    sources those that it depends on.
    """
    pair = _neighbours(problem, partition, rng)
    if pair is None:
        return None
    first, second = partition[pair[0]], partition[pair[1]]
    onward = bool(rng.integers(2))
    giver, taker = (first, second) if onward else (second, first)
    closure = problem.graph.descendant_masks if onward else problem.graph.ancestor_masks
    choices = [i for i in members(giver) if _borders(problem, giver & (closure[i] | 1 << i), taker, onward)]
    i = choices[int(rng.integers(len(choices)))]
    moved = giver & (closure[i] | 1 << i)
    rest = [mask for mask in partition if mask not in (giver, taker)]
    found = rest + problem.graph.components(giver & ~moved) + problem.graph.components(taker | moved)
    return found if problem.ordered(found) is not None else None


def _borders(problem: FusionProblem, moved: int, taker: int, onward: bool) -> bool:
    return bool((problem.readers(moved) if onward else problem.sources(moved)) & taker)


def _neighbours(problem: FusionProblem, partition: Partition, rng: np.random.Generator) -> tuple[int, int] | None:
    """Positions of two groups of which the second reads the first, by a random edge between groups."""
    owner = problem.owners(partition)
    pairs = [(owner[a], owner[b]) for a, b in problem.graph.edges if owner[a] != owner[b]]
    return pairs[int(rng.integers(len(pairs)))] if pairs else None


MOVES: tuple[Move, ...] = (merge, split, move)
