"""Explainers by name; others register theirs by an entry point of ``tvm_fusion.explainers``."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from tvm_fusion.errors import ExplainerError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.explainers.base import Explainer

GROUP = "tvm_fusion.explainers"
DEFAULT_EXPLAINER = "pgexplainer"
# (oracle, seed) -> Explainer
ExplainerFactory = Callable[["Oracle", int], "Explainer"]
_OWN = {
    "gnnexplainer": "tvm_fusion.explainers.gnn_explainer:GnnExplainer",
    "pgexplainer": "tvm_fusion.explainers.pg_explainer:PgExplainer",
    "rgexplainer": "tvm_fusion.explainers.rg_explainer:RgExplainer",
    "occlusion": "tvm_fusion.explainers.occlusion:Occlusion",
    "saliency": "tvm_fusion.explainers.saliency:Saliency",
    "random": "tvm_fusion.explainers.random_edges:RandomEdges",
}


def explainer_names() -> list[str]:
    """Names of all explainers: ours, then those of other packages."""
    return [*_OWN, *sorted({point.name for point in entry_points(group=GROUP)} - set(_OWN))]


def make_explainer(name: str, oracle: Oracle, seed: int = 0) -> Explainer:
    """Explainer ``name`` for the groups of ``oracle``'s graph.

    Raises ExplainerError for an unknown or broken one, and where torch is needed but not installed.
    """
    return _factory(name)(oracle, seed)


def check_explainer(name: str) -> None:
    """Raise ExplainerError unless an explainer of that name is registered."""
    if name not in explainer_names():
        raise ExplainerError(f"explainer {name!r} is unknown; allowed: {', '.join(explainer_names())}")


def _factory(name: str) -> ExplainerFactory:
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of torch, when torch_geometric is imported
                own: ExplainerFactory = getattr(import_module(module), attribute)
        except ImportError as error:
            if error.name and error.name.partition(".")[0] in ("torch", "torch_geometric", "safetensors"):
                raise ExplainerError(
                    f"explainer {name!r} needs {error.name.partition('.')[0]}; pip install 'tvm-fusion[zoo]' brings it"
                ) from None
            raise
        return own
    for point in entry_points(group=GROUP):
        if point.name == name:
            try:
                foreign: ExplainerFactory = point.load()
            except Exception as error:
                raise ExplainerError(f"explainer {name!r} ({point.value}) cannot be loaded: {error}") from error
            return foreign
    check_explainer(name)
    raise AssertionError
