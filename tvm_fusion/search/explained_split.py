"""ExplainedSplit: cut an invalid group where an explanation says that its fault lies.

Source: arXiv 2501.00636, recursive greedy tree split.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from tvm_fusion.explainers.base import Edge, Explainer
from tvm_fusion.graph.cuts import fewest_edges, least_bytes
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.random_split import RandomSplit
from tvm_fusion.search.split import Splitter

# Edges of an explanation that may be cut. The others are not at fault, as far as it says.
EXPLAINED_EDGES = 24
# Candidates, the most important first, whose parts are both split again where no candidate has a valid part.
BRANCHES = 3
# Of the most important edges also the cuts by which the least bytes cross. A flow for each edge is dear.
LEAST_BYTES_EDGES = 8

Parts = tuple[int, ...]
Pair = tuple[int, int]


class ExplainedSplit(Splitter):
    """Repairs invalid groups by the edges that ``explainer`` names; what these leave invalid is explained anew.

    ``edges`` is how many edges of an explanation count. A group that no explained edge can cut goes to
    ``fallback``. Results are kept: the split of a group is always the same, but for what the fallback does.
    """

    def __init__(self, explainer: Explainer, edges: int = EXPLAINED_EDGES, fallback: Splitter | None = None) -> None:
        super().__init__()
        self.explainer = explainer
        self.edges = edges
        self.fallback = fallback or RandomSplit()
        self._trees: dict[int, Parts] = {}

    def prepare(self, problem: FusionProblem, masks: Sequence[int]) -> None:
        """Explain the invalid groups among ``masks`` in one batch, then what that leaves invalid, and so on."""
        waiting = [part for mask in masks for part in problem.graph.components(mask)]
        while new := [part for part in dict.fromkeys(waiting) if part not in self._trees and not problem.valid(part)]:
            self.explainer.explain(new)
            parts = [(mask, self._explained(problem, mask)) for mask in new]
            waiting = [part for mask, found in parts for part in found if part != mask]

    def split(self, problem: FusionProblem, mask: int, rng: np.random.Generator) -> list[int]:
        """See :class:`tvm_fusion.search.split.Splitter`."""
        found: list[int] = []
        for part in problem.graph.components(mask):
            if problem.valid(part):
                found.append(part)
                continue
            self.counts.invalid_groups += 1
            parts = self._explained(problem, part)
            left = [p for p in parts if not problem.valid(p)]
            self.counts.rectified += not left
            found += parts if not left else self._finished(problem, part, parts, rng)
        return found

    def _finished(self, problem: FusionProblem, whole: int, parts: Parts, rng: np.random.Generator) -> list[int]:
        """``parts`` of ``whole`` with the invalid ones explained by themselves; at random where nothing was cut."""
        if parts == (whole,):
            self.counts.split_at_random += 1
            return self.fallback.split(problem, whole, rng)
        found: list[int] = []
        for part in parts:
            if problem.valid(part):
                found.append(part)
                continue
            self.counts.explained_again += 1
            found += self._finished(problem, part, self._explained(problem, part), rng)
        return found

    def _explained(self, problem: FusionProblem, mask: int) -> Parts:
        if mask not in self._trees:
            (explanation,) = self.explainer.explain([mask])
            self._trees[mask] = split_at(problem, mask, explanation.edges[: self.edges])
        return self._trees[mask]


def split_at(problem: FusionProblem, mask: int, edges: Sequence[Edge]) -> Parts:
    """The recursive greedy tree split of the connected group ``mask`` at explained ``edges``.

    Cuts remove the fewest edges; where one of them leaves a valid part, the cuts by which the least bytes cross
    compete too (ours: networks of parallel branches need it). Connected parts in execution order. Parts are valid as
    far as the edges allow; one that none of them cuts may be invalid still.
    """
    return _Tree(problem, edges).split(mask)


@dataclass(slots=True)
class _Tree:
    problem: FusionProblem
    edges: Sequence[Edge]
    known: dict[int, Parts] = field(default_factory=dict)

    def split(self, mask: int) -> Parts:
        """``mask`` itself if it is valid or no edge cuts it, else the best split by category."""
        found = self.known.get(mask)
        if found is None:
            found = self.known[mask] = (mask,) if self.problem.valid(mask) else self._split_invalid(mask)
        return found

    def _split_invalid(self, mask: int) -> Parts:
        problem = self.problem
        edges = [edge for edge in self.edges if mask >> edge[0] & 1 and mask >> edge[1] & 1]
        pairs = self._pairs(mask, edges, fewest_edges)
        if not pairs:
            return (mask,)
        if not any(problem.valid(part) for pair in pairs for part in pair):
            return min((self._joined(pair) for pair in pairs[:BRANCHES]), key=self._left_and_value)
        pairs += self._pairs(mask, edges[:LEAST_BYTES_EDGES], self._least_bytes)
        both = [pair for pair in pairs if all(problem.valid(part) for part in pair)]
        if both:
            return min(both, key=problem.plan_value)
        one = [pair for pair in pairs if any(problem.valid(part) for part in pair)]
        return self._joined(max(one, key=self._operators_of_valid_part))

    def _pairs(
        self, mask: int, edges: Sequence[Edge], cuts: Callable[[OperatorGraph, int, Edge], list[int]]
    ) -> list[Pair]:
        heads = dict.fromkeys(head for edge in edges for head in cuts(self.problem.graph, mask, edge))
        return [(head, mask ^ head) for head in heads]

    def _least_bytes(self, graph: OperatorGraph, mask: int, edge: Edge) -> list[int]:
        return least_bytes(graph, mask, edge, self.problem.oracle.sizes.tensor_bytes)

    def _joined(self, pair: tuple[int, int]) -> Parts:
        return self.split(pair[0]) + self.split(pair[1])

    def _operators_of_valid_part(self, pair: tuple[int, int]) -> tuple[int, int]:
        """Most operators first; of equals the pair that moves less."""
        size = max(part.bit_count() for part in pair if self.problem.valid(part))
        return size, -self.problem.plan_value(pair)

    def _left_and_value(self, parts: Parts) -> tuple[int, int]:
        invalid = sum(not self.problem.valid(part) for part in parts)
        return invalid, self.problem.plan_value(parts)
