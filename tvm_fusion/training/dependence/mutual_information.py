"""MutualInformation: G from the normalised mutual information of a layer's input with itself, displaced.

The rule of "Reparameterization through Spatial Gradient Scaling" (ICLR 2023, arXiv 2303.02733).
"""

from __future__ import annotations

from math import ceil, log2

import torch
from torch import Tensor

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.conv_window import ConvWindow, Tap
from tvm_fusion.training.dependence.base import Observer, SpatialDependence


class MutualInformation(SpatialDependence):
    """``k``: how much the taps' values are drawn together (from 1; without bound they become equal).

    ``ignore_zeros``: leave out pairs in which a value is exactly 0 and the joint histogram's diagonal, for maps that
    are mostly zeros behind a ReLU. Raises TrainingError for a k that is not above 0.
    """

    name = "mutual-information"
    passes = 2  # the range of every channel, then its histograms

    def __init__(self, k: float = 5.0, ignore_zeros: bool = False) -> None:
        if not k > 0:
            raise TrainingError(f"k {k!r} must be above 0")
        self.k, self.ignore_zeros = float(k), ignore_zeros

    def observer(self, window: ConvWindow, layer: str) -> Observer:  # noqa: ARG002
        """See :class:`SpatialDependence`."""
        return _Histograms(window, self.k, self.ignore_zeros)


class _Histograms(Observer):
    """By displacement: lowest and highest value of each channel (2, 2, C), number of pairs, joint counts (C, B, B)."""

    def __init__(self, window: ConvWindow, k: float, ignore_zeros: bool) -> None:
        super().__init__(window)
        self.k, self.ignore_zeros = k, ignore_zeros
        self._range: dict[Tap, Tensor] = {}
        self._pairs: dict[Tap, int] = {}
        self._joint: dict[Tap, Tensor] = {}

    def observe(self, padded: Tensor, turn: int) -> None:
        """The ranges in the first pass, the histograms in the second."""
        values = padded if padded.dtype in (torch.float32, torch.float64) else padded.float()
        for d in self.window.displacements():
            x, y = self.window.pair(values, d)
            (self._measure, self._count)[turn](d, x, y)

    def taps(self) -> Tensor:
        """Steps 4 to 6 of the rule; ones where every channel is constant."""
        return self.symmetric({d: self._mean(joint) for d, joint in self._joint.items()})

    def _measure(self, d: Tap, x: Tensor, y: Tensor) -> None:
        kept = (x != 0) & (y != 0) if self.ignore_zeros else None
        found = torch.stack([torch.stack(_range(values, kept)) for values in (x, y)])
        before = self._range.get(d)
        if before is not None:
            low, high = torch.minimum(before[:, 0], found[:, 0]), torch.maximum(before[:, 1], found[:, 1])
            found = torch.stack((low, high), dim=1)
        self._range[d] = found
        self._pairs[d] = self._pairs.get(d, 0) + x.shape[0] * x[0, 0].numel()

    def _count(self, d: Tap, x: Tensor, y: Tensor) -> None:
        bins, channels = bins_of(self._pairs[d]), x.shape[1]
        places = torch.arange(channels, device=x.device).view(1, -1, 1, 1) * bins
        (low_x, high_x), (low_y, high_y) = self._range[d]
        first, second = _binned(x, low_x, high_x, bins), _binned(y, low_y, high_y, bins)
        places = (places + first).mul_(bins).add_(second)
        if self.ignore_zeros:
            places = places[(x != 0) & (y != 0)]
        counts = torch.bincount(places.flatten(), minlength=channels * bins * bins).view(channels, bins, bins)
        self._joint[d] = counts if d not in self._joint else self._joint[d] + counts

    def _mean(self, joint: Tensor) -> float | None:
        """The mean over channels; those of which nothing varies are left out."""
        counts = joint.double()
        if self.ignore_zeros:
            counts = counts * (1 - torch.eye(joint.shape[-1], dtype=counts.dtype, device=counts.device))
        both = _entropy(counts.flatten(1))
        varies = both > 0
        if not bool(varies.any()):
            return None
        counts, both = counts[varies], both[varies]
        shared = (_entropy(counts.sum(2)) + _entropy(counts.sum(1)) - both) / both
        shared = shared.clamp(min=0)
        return float((self.k * shared / ((self.k - 1) * shared + 1)).mean())


def bins_of(pairs: int) -> int:
    """Equal-width bins of each variable, by Sturges' rule."""
    return 1 + ceil(log2(pairs))


def _range(values: Tensor, kept: Tensor | None) -> tuple[Tensor, Tensor]:
    dims = (0, 2, 3)
    if kept is None:
        return values.amin(dims), values.amax(dims)
    infinite = torch.full((), torch.inf, dtype=values.dtype, device=values.device)
    return values.where(kept, infinite).amin(dims), values.where(kept, -infinite).amax(dims)


def _binned(values: Tensor, low: Tensor, high: Tensor, bins: int) -> Tensor:
    """Bins (N, C, H, W) of values between the channels' ``low`` and ``high``, the highest value in the last one."""
    low, high = low.view(1, -1, 1, 1), high.view(1, -1, 1, 1)
    found = (values - low) / (high - low) * bins
    return found.nan_to_num_(nan=0.0).clamp_(0, bins - 1).long()


def _entropy(counts: Tensor) -> Tensor:
    """Bits, by row; 0 of an empty one."""
    parts = counts / counts.sum(1, keepdim=True).clamp(min=1)
    return -torch.xlogy(parts, parts).sum(1) / torch.log(torch.tensor(2.0, dtype=parts.dtype, device=parts.device))
