"""Explainer: the interface of whatever says which edges of a group its invalidity rests on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph.graph import OperatorGraph, members

Edge = tuple[int, int]


def inner_edges(graph: OperatorGraph, mask: int) -> tuple[Edge, ...]:
    """(producer, consumer) of every tensor that is read inside the group, ascending by consumer, then producer."""
    return tuple((i, c) for c in members(mask) for i in members(graph.predecessor_masks[c] & mask))


@dataclass(frozen=True, slots=True)
class Explanation:
    """The inner edges of group ``mask``, the most important first, and a score for each (higher: more important).

    Scores are comparable within one explanation only.
    """

    mask: int
    edges: tuple[Edge, ...]
    scores: tuple[float, ...]


class Explainer(ABC):
    """Scores the edges of invalid groups of one graph on one accelerator.

    The same ``seed`` and the same sequence of questions give the same answers. ``seconds`` is the time spent
    explaining, of which ``classifier_seconds`` were predictions of the validity classifier.
    """

    def __init__(self, oracle: Oracle, seed: int = 0) -> None:
        self.oracle = oracle
        self.graph = oracle.graph
        self.seed = seed
        self.seconds = 0.0
        self.classifier_seconds = 0.0
        self._known: dict[int, Explanation] = {}

    @property
    def explained(self) -> int:
        """Distinct groups explained so far."""
        return len(self._known)

    @property
    def remark(self) -> str:
        """One line that a user must know of how this explainer answers for this oracle; mostly empty."""
        return ""

    def explain(self, masks: Sequence[int]) -> list[Explanation]:
        """One explanation for each group, computed together where they are new and kept for the next time."""
        new = [mask for mask in dict.fromkeys(masks) if mask not in self._known]
        if new:
            begin = perf_counter()
            for mask, scores in zip(new, self.scores(new), strict=True):
                self._known[mask] = _sorted(mask, inner_edges(self.graph, mask), scores)
            self.seconds += perf_counter() - begin
        return [self._known[mask] for mask in masks]

    def unknown_types(self, mask: int) -> set[str]:  # noqa: ARG002 - most have learned nothing
        """Operator types in the group that whatever this explainer has learned from did not hold."""
        return set()

    @abstractmethod
    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        """For each group one number for each of its :func:`inner_edges`, in their order."""


def _sorted(mask: int, edges: tuple[Edge, ...], scores: Sequence[float]) -> Explanation:
    order = sorted(range(len(edges)), key=lambda k: (-float(scores[k]), edges[k]))
    return Explanation(mask, tuple(edges[k] for k in order), tuple(float(scores[k]) for k in order))
