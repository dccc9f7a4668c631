"""Where an explainer would cut an invalid group, and what that saves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_fusion.errors import NoAnswerError
from tvm_fusion.explainers.base import Edge, Explainer
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.search.explained_split import ExplainedSplit
from tvm_fusion.search.problem import FusionProblem


@dataclass(frozen=True, slots=True)
class SplitPart:
    """One part of a split group: operators, bytes on chip, DRAM bytes."""

    operators: tuple[int, ...]
    buffer_bytes: int
    dram_bytes: int
    scheme: str


@dataclass(frozen=True, slots=True)
class SplitExplanation:
    """An invalid group, its edges by importance, and the parts that the explained split makes of it.

    ``unknown_types`` are operator types that the classifier never saw. ``rectified``: the explanation of the
    group alone sufficed.
    """

    graph: OperatorGraph
    explainer: str
    operators: tuple[int, ...]
    buffer_bytes: int
    accelerator_buffer_bytes: int
    scores: dict[Edge, float]
    parts: tuple[SplitPart, ...]
    unfused_dram_bytes: int
    rectified: bool
    unknown_types: tuple[str, ...]

    @property
    def dram_bytes(self) -> int:
        """What the parts move together."""
        return sum(part.dram_bytes for part in self.parts)

    @property
    def cuts(self) -> list[Edge]:
        """Edges between different parts, the most important first."""
        part_of = {i: k for k, part in enumerate(self.parts) for i in part.operators}
        return [(a, b) for a, b in self.scores if part_of[a] != part_of[b]]

    def to_json(self) -> dict[str, Any]:
        """The explanation by name; edges by importance."""
        cuts = set(self.cuts)
        return {
            "explainer": self.explainer,
            "operators": list(self.operators),
            "buffer_bytes": self.buffer_bytes,
            "accelerator_buffer_bytes": self.accelerator_buffer_bytes,
            "edges": [
                {"producer": a, "consumer": b, "score": score, "cut": (a, b) in cuts}
                for (a, b), score in self.scores.items()
            ],
            "parts": [
                {
                    "operators": list(part.operators),
                    "scheme": part.scheme,
                    "buffer_bytes": part.buffer_bytes,
                    "dram_bytes": part.dram_bytes,
                }
                for part in self.parts
            ],
            "dram_bytes": self.dram_bytes,
            "unfused_dram_bytes": self.unfused_dram_bytes,
            "rectified_by_explanation": self.rectified,
            "unknown_types": list(self.unknown_types),
        }

    def verdict(self) -> str:
        """One sentence: the parts and what they save."""
        saved = self.unfused_dram_bytes - self.dram_bytes
        how = "" if self.rectified else " (its explanation alone was not enough: parts were explained again)"
        text = (
            f"{self.explainer} proposes {len(self.parts)} parts{how}: {self.dram_bytes:,} bytes of DRAM traffic, "
            f"{saved:,} less than its operators one by one."
        )
        if self.unknown_types:
            text += f" The classifier never saw the operator types {', '.join(self.unknown_types)}."
        return text


def explain_split(problem: FusionProblem, mask: int, explainer: Explainer, name: str) -> SplitExplanation:
    """Explain the connected group ``mask``. Raises NoAnswerError for one that fits or is a single operator."""
    oracle, graph = problem.oracle, problem.graph
    operators = tuple(members(mask))
    needed = oracle.requirement_bytes(mask)
    if needed <= problem.buffer_bytes:
        raise NoAnswerError(
            f"fits: nothing to explain (the group needs {needed:,} bytes of {problem.buffer_bytes:,}); "
            "--buffer sets a smaller buffer"
        )
    if len(operators) == 1:
        raise NoAnswerError(
            f"nothing to split: the group is the single operator {operators[0]} "
            f"({graph.operators[operators[0]].name!r}), which executes layer by layer"
        )
    (explanation,) = explainer.explain([mask])
    splitter = ExplainedSplit(explainer)
    parts = splitter.split(problem, mask, np.random.default_rng(explainer.seed))
    costs = [oracle.cost(part) for part in parts]
    return SplitExplanation(
        graph=graph,
        explainer=name,
        operators=operators,
        buffer_bytes=needed,
        accelerator_buffer_bytes=problem.buffer_bytes,
        scores=dict(zip(explanation.edges, explanation.scores, strict=True)),
        parts=tuple(SplitPart(cost.operators, cost.buffer_bytes, cost.dram_bytes, cost.scheme) for cost in costs),
        unfused_dram_bytes=sum(oracle.cost(1 << i).dram_bytes for i in operators),
        rectified=splitter.counts.rectified == 1,
        unknown_types=tuple(sorted(explainer.unknown_types(mask))),
    )
