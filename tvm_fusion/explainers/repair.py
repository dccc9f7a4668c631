"""How invalid groups are repaired, by name."""

from __future__ import annotations

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.explainers.registry import check_explainer, make_explainer
from tvm_fusion.search.explained_split import ExplainedSplit
from tvm_fusion.search.random_split import RandomSplit
from tvm_fusion.search.split import Splitter

REPAIRS = ("random", "explained")


def check_repair(repair: str, explainer: str) -> None:
    """Raise SearchError or ExplainerError unless both names are known."""
    if repair not in REPAIRS:
        raise SearchError(f"repair {repair!r} is unknown; allowed: {', '.join(REPAIRS)}")
    check_explainer(explainer)


def make_splitter(repair: str, explainer: str, oracle: Oracle, seed: int = 0) -> Splitter:
    """The splitter of the names: "random", or "explained" by an explainer of ``tvm_fusion.explainers``."""
    check_repair(repair, explainer)
    return ExplainedSplit(make_explainer(explainer, oracle, seed)) if repair == "explained" else RandomSplit()
