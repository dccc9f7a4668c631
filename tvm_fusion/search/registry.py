"""Search algorithms by name; others register theirs by an entry point of ``tvm_fusion.algorithms``."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

import numpy as np

from tvm_fusion.errors import SearchError

if TYPE_CHECKING:
    from tvm_fusion.search.algorithm import Algorithm
    from tvm_fusion.search.problem import FusionProblem
    from tvm_fusion.search.split import Splitter

GROUP = "tvm_fusion.algorithms"
# (problem, rng, splitter, stop) -> Algorithm
AlgorithmFactory = Callable[
    ["FusionProblem", np.random.Generator, "Splitter", Callable[[], bool]],
    "Algorithm",
]
_OWN = {
    "best": "tvm_fusion.search.best:Best",
    "exact": "tvm_fusion.search.exact:Exact",
    "interval-dp": "tvm_fusion.search.interval_dp:IntervalDP",
    "local-search": "tvm_fusion.search.local_search:LocalSearch",
    "nsga2": "tvm_fusion.search.nsga2:Nsga2",
    "random-search": "tvm_fusion.search.random_search:RandomSearch",
    "unfused": "tvm_fusion.search.unfused:Unfused",
}


def algorithm_names() -> list[str]:
    """Names of all algorithms: ours, then those of other packages."""
    return [*_OWN, *sorted({point.name for point in entry_points(group=GROUP)} - set(_OWN))]


def algorithm_factory(name: str) -> AlgorithmFactory:
    """The class or function that makes algorithm ``name``. Raises SearchError for an unknown or broken one."""
    if name in _OWN:
        module, attribute = _OWN[name].split(":")
        own: AlgorithmFactory = getattr(import_module(module), attribute)
        return own
    for point in entry_points(group=GROUP):
        if point.name == name:
            return _loaded(point)
    raise SearchError(f"algorithm {name!r} is unknown; allowed: {', '.join(algorithm_names())}")


def _loaded(point: Any) -> AlgorithmFactory:
    try:
        factory: AlgorithmFactory = point.load()
    except Exception as error:
        raise SearchError(f"algorithm {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not callable(factory):
        raise SearchError(f"algorithm {point.name!r} ({point.value}) is not callable")
    return factory
