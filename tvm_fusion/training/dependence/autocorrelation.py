"""Autocorrelation: G from the absolute linear correlation of a layer's input with itself, displaced."""

from __future__ import annotations

import torch
from torch import Tensor

from tvm_fusion.training.conv_window import ConvWindow, Tap
from tvm_fusion.training.dependence.base import Observer, SpatialDependence


class Autocorrelation(SpatialDependence):
    """|Pearson's correlation| of all pairs of positions, mean over channels; constant channels are left out."""

    name = "autocorrelation"
    passes = 2  # means, then products about them

    def observer(self, window: ConvWindow, layer: str) -> Observer:  # noqa: ARG002
        """See :class:`SpatialDependence`."""
        return _Correlations(window)


class _Correlations(Observer):
    """By displacement: pairs, sums of both variables (2, C), and then of products about their means (3, C)."""

    def __init__(self, window: ConvWindow) -> None:
        super().__init__(window)
        self._pairs: dict[Tap, int] = {}
        self._sums: dict[Tap, Tensor] = {}
        self._products: dict[Tap, Tensor] = {}

    def observe(self, padded: Tensor, turn: int) -> None:
        """See :class:`Observer`."""
        for d in self.window.displacements():
            x, y = (values.double() for values in self.window.pair(padded, d))
            if turn == 0:
                self._pairs[d] = self._pairs.get(d, 0) + x.shape[0] * x[0, 0].numel()
                self._sums[d] = self._sums.get(d, 0) + torch.stack([values.sum((0, 2, 3)) for values in (x, y)])
            else:
                means = (self._sums[d] / self._pairs[d]).view(2, 1, -1, 1, 1)
                x, y = x - means[0], y - means[1]
                found = torch.stack([values.sum((0, 2, 3)) for values in (x * x, y * y, x * y)])
                self._products[d] = self._products.get(d, 0) + found

    def taps(self) -> Tensor:
        """See :class:`Observer`; ones where every channel is constant."""
        values: dict[Tap, float | None] = dict.fromkeys(self._products)
        for d, (xx, yy, xy) in self._products.items():
            varies = (xx > 0) & (yy > 0)
            if bool(varies.any()):
                values[d] = float((xy[varies].abs() / (xx[varies] * yy[varies]).sqrt()).mean())
        return self.symmetric(values)
