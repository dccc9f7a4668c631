"""Ways to find G by name."""

from __future__ import annotations

from typing import Any

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.dependence.autocorrelation import Autocorrelation
from tvm_fusion.training.dependence.base import SpatialDependence
from tvm_fusion.training.dependence.fixed import OfBranches, Ones, Random
from tvm_fusion.training.dependence.mutual_information import MutualInformation

_CLASSES: dict[str, type[SpatialDependence]] = {
    c.name: c for c in (MutualInformation, Autocorrelation, OfBranches, Random, Ones)
}


def make_dependence(name: str, **options: Any) -> SpatialDependence:
    """The way of a name, with the options of its class. Raises TrainingError for an unknown name."""
    if name not in _CLASSES:
        raise TrainingError(f"dependence {name!r} is unknown; allowed: {', '.join(_CLASSES)}")
    return _CLASSES[name](**options)
