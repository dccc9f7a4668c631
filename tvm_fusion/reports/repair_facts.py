"""How a search repaired invalid groups, and where its time went."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from tvm_fusion.search import SearchResult
from tvm_fusion.search.explained_split import ExplainedSplit
from tvm_fusion.search.split import RepairCounts, Splitter


@dataclass(frozen=True)
class RepairFacts:
    """How a search repaired invalid groups: the counts, and the seconds of its parts.

    ``search_seconds`` is what is left of the whole search without oracle and explainer (classifier included).
    """

    name: str
    explainer: str | None
    counts: RepairCounts
    search_seconds: float
    oracle_seconds: float
    explainer_seconds: float
    classifier_seconds: float

    @classmethod
    def of(cls, splitter: Splitter, result: SearchResult, explainer: str) -> RepairFacts:
        """The facts of a search that ``splitter`` repaired."""
        explained = splitter.explainer if isinstance(splitter, ExplainedSplit) else None
        explainer_seconds = explained.seconds if explained else 0.0
        return cls(
            name="explained" if explained else "random",
            explainer=explainer if explained else None,
            counts=result.repair,
            search_seconds=max(0.0, result.seconds - result.oracle_seconds - explainer_seconds),
            oracle_seconds=result.oracle_seconds,
            explainer_seconds=explainer_seconds,
            classifier_seconds=explained.classifier_seconds if explained else 0.0,
        )

    def to_json(self) -> dict[str, Any]:
        """Counts, rectify rate and seconds by name."""
        return {
            "repair": self.name,
            "explainer": self.explainer,
            **asdict(self.counts),
            "rectify_rate": self.counts.rectify_rate if self.explainer else None,
            "seconds": {
                "search": self.search_seconds,
                "oracle": self.oracle_seconds,
                "explainer": self.explainer_seconds - self.classifier_seconds,
                "classifier": self.classifier_seconds,
            },
        }

    def summary(self) -> str:
        """Empty for the random split, else how often the explanation was enough."""
        if self.explainer is None:
            return ""
        counts = self.counts
        return (
            f"; {self.explainer} alone rectified {counts.rectified} of {counts.invalid_groups} invalid groups "
            f"({counts.rectify_rate:.1%})"
        )
