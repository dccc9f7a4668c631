"""SpatialDependence: how much the taps of a layer's window depend on its centre."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from torch import Tensor

from tvm_fusion.training.conv_window import ConvWindow, Tap


class Observer(ABC):
    """Sees the inputs of one layer, ``passes`` times all of them, and says what its taps are worth."""

    def __init__(self, window: ConvWindow) -> None:
        self.window = window

    @abstractmethod
    def observe(self, padded: Tensor, turn: int) -> None:
        """An input (N, C, H, W) with its padding, in pass ``turn`` from 0."""

    @abstractmethod
    def taps(self) -> Tensor:
        """Positive values (K_h, K_w) in float64 on the CPU, the centre's being 1."""

    def symmetric(self, values: dict[Tap, float | None]) -> Tensor:
        """Taps by displacement, the centre's being 1. None: nothing varies there; all ones if it varies nowhere."""
        taps = torch.ones(self.window.kernel, dtype=torch.float64)
        if all(value is None for value in values.values()):
            return taps
        for displacement, where in self.window.displacements().items():
            for i, j in where:
                taps[i, j] = max(values[displacement] or 0.0, SMALLEST)
        return taps


# G is positive: a tap that nothing is known to depend on still learns.
SMALLEST = 1e-12


class SpatialDependence(ABC):
    """A way to find G. ``passes``: how often it must see the layers' inputs; 0: it looks at no data."""

    name: ClassVar[str]
    passes: ClassVar[int] = 0
    # Whether G's mean becomes 1. Not so where G says exactly what branches do.
    normalises: bool = True

    @abstractmethod
    def observer(self, window: ConvWindow, layer: str) -> Observer:
        """What sees the inputs of the layer of this name."""

    def update_scale(self, window: ConvWindow, scale: Tensor) -> Tensor:  # noqa: ARG002 - some know more
        """What scales the update of an Adam-like optimizer where ``scale`` scales gradients (K_h, K_w).

        Where it is not known of which branches G comes, G itself: their constants are taken for 1.
        """
        return scale
