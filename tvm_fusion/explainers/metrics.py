"""How good explanations are: against the classifier (fidelity) and against the truth (cuts that the oracle judges)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import Edge, Explanation, inner_edges
from tvm_fusion.graph.cuts import fewest_edges

# (masks, for each the inner edges that keep their messages) -> for each whether it is predicted to be invalid
Predictor = Callable[[Sequence[int], Sequence[Sequence[Edge]]], Sequence[bool]]


@dataclass(frozen=True, slots=True)
class TruthReport:
    """How far cuts at the explained edges repair invalid groups, by the exact oracle.

    Rates are shares of ``groups``. A group is repaired by an edge if one of its cuts
    (:func:`tvm_fusion.graph.cuts.fewest_edges`) leaves two valid parts. ``repairable_rate`` is what trying all
    edges reaches. ``top1_dram_ratio``: DRAM bytes of the best repairing cut through the top edge, relative to
    the best repairing cut of all, as a mean over the groups that it repairs (not a number if there is none).
    """

    groups: int
    repairable_rate: float
    top1_rate: float
    top3_rate: float
    top1_dram_ratio: float
    top3_dram_ratio: float


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """Fidelity of the ``top`` edges of every explanation to the classifier, as torch_geometric defines it.

    ``plus``: how often the prediction changes without the explained edges (high is good); ``minus``: how often
    it changes with nothing but them (low is good).
    """

    groups: int
    top: int
    plus: float
    minus: float


def best_repair_bytes(oracle: Oracle, mask: int, edges: Sequence[Edge]) -> int | None:
    """Least DRAM bytes of a cut through one of ``edges`` that leaves two valid parts; None without one."""
    found: list[int] = []
    for head in dict.fromkeys(head for edge in edges for head in fewest_edges(oracle.graph, mask, edge)):
        first, second = oracle.evaluate(head), oracle.evaluate(mask & ~head)
        if first[0] and second[0]:
            found.append(first[1] + second[1])
    return min(found, default=None)


def truth(oracle: Oracle, explanations: Sequence[Explanation]) -> TruthReport:
    """The report over explanations of invalid groups. Raises ExplainerError for a valid group, or for none."""
    if not explanations:
        raise ExplainerError("no explanation to judge; at least one is needed")
    best: list[int | None] = []
    tops: dict[int, list[int | None]] = {1: [], 3: []}
    for explanation in explanations:
        mask = explanation.mask
        if oracle.evaluate(mask)[0]:
            raise ExplainerError(f"group {mask:#x} is valid; only invalid groups have an explanation to judge")
        best.append(best_repair_bytes(oracle, mask, inner_edges(oracle.graph, mask)))
        for count, found in tops.items():
            found.append(best_repair_bytes(oracle, mask, explanation.edges[:count]))
    return TruthReport(
        groups=len(explanations),
        repairable_rate=_rate(best),
        top1_rate=_rate(tops[1]),
        top3_rate=_rate(tops[3]),
        top1_dram_ratio=_ratio(tops[1], best),
        top3_dram_ratio=_ratio(tops[3], best),
    )


def fidelity(
    predict: Predictor,
    explanations: Sequence[Explanation],
    top: int = 3,
    kind: Literal["model", "phenomenon"] = "phenomenon",
) -> FidelityReport:
    """The report over explanations of invalid groups.

    ``kind`` "phenomenon" measures against the truth that every group is invalid, "model" against what the
    classifier says of the whole group. ``predict`` answers for groups of which only some edges carry messages.
    """
    if not explanations or top < 1:
        raise ExplainerError(f"fidelity of {len(explanations)} explanations at the top {top} edges; both must be >= 1")
    masks = [explanation.mask for explanation in explanations]
    every, kept, left = (
        predict(masks, [explanation.edges[part] for explanation in explanations])
        for part in (slice(None), slice(top), slice(top, None))
    )
    target = every if kind == "model" else [True] * len(masks)
    plus = minus = 0
    for wanted, whole, inside, outside in zip(target, every, kept, left, strict=True):
        plus += (whole == wanted) != (outside == wanted)
        minus += (whole == wanted) != (inside == wanted)
    return FidelityReport(len(masks), top, plus / len(masks), minus / len(masks))


def _rate(found: Sequence[int | None]) -> float:
    return sum(value is not None for value in found) / len(found)


def _ratio(found: Sequence[int | None], best: Sequence[int | None]) -> float:
    ratios = [a / b for a, b in zip(found, best, strict=True) if a is not None and b is not None]
    return sum(ratios) / len(ratios) if ratios else float("nan")
