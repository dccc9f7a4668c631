"""G that looks at no data: that of branches, ones, or random numbers."""

from __future__ import annotations

import zlib

import torch
from torch import Tensor

from tvm_fusion.training.branches import Branches
from tvm_fusion.training.conv_window import ConvWindow
from tvm_fusion.training.dependence.base import Observer, SpatialDependence


class _Known(Observer):
    def __init__(self, window: ConvWindow, taps: Tensor) -> None:
        super().__init__(window)
        self._taps = taps

    def observe(self, padded: Tensor, turn: int) -> None:
        """Looks at nothing."""

    def taps(self) -> Tensor:
        """What was known."""
        return self._taps


class Ones(SpatialDependence):
    """No scaling."""

    name = "ones"

    def observer(self, window: ConvWindow, layer: str) -> Observer:  # noqa: ARG002
        """See :class:`SpatialDependence`."""
        return _Known(window, torch.ones(window.kernel, dtype=torch.float64))


class Random(SpatialDependence):
    """Uniform numbers from 0.1 to 1, one matrix for each name of a layer."""

    name = "random"

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def observer(self, window: ConvWindow, layer: str) -> Observer:
        """See :class:`SpatialDependence`."""
        generator = torch.Generator().manual_seed(self.seed + zlib.crc32(layer.encode()))
        return _Known(window, 0.1 + 0.9 * torch.rand(window.kernel, generator=generator, dtype=torch.float64))


class OfBranches(SpatialDependence):
    """Exactly what a set of branches does to the one kernel that they add up to; its mean is not 1.

    Layers with other windows than the branches' have ones.
    """

    name = "branches"
    normalises = False

    def __init__(self, branches: Branches) -> None:
        self.branches = branches

    def observer(self, window: ConvWindow, layer: str) -> Observer:  # noqa: ARG002
        """See :class:`SpatialDependence`."""
        same = window.kernel == self.branches.kernel
        return _Known(
            window, self.branches.gradient_scale() if same else torch.ones(window.kernel, dtype=torch.float64)
        )

    def update_scale(self, window: ConvWindow, scale: Tensor) -> Tensor:
        """That of the branches."""
        return self.branches.update_scale() if window.kernel == self.branches.kernel else scale
