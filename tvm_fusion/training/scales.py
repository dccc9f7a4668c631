"""Scales: G by a layer's name, checked when it is assigned."""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping

import torch
from torch import Tensor

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.conv_window import ConvWindow


class Scales(MutableMapping[str, Tensor]):
    """Matrices (K_h, K_w) in float64 on the CPU; all ones at first. Every layer has one: none can be taken out."""

    def __init__(self, windows: dict[str, ConvWindow], changed: Callable[[str], None]) -> None:
        self._windows, self._changed = windows, changed
        self._scales = {name: torch.ones(window.kernel, dtype=torch.float64) for name, window in windows.items()}

    def __getitem__(self, name: str) -> Tensor:
        return self._scales[name]

    def __setitem__(self, name: str, scale: Tensor) -> None:
        """Raises TrainingError for an unknown layer, another shape, and values that are not positive and finite."""
        self._scales[name] = self.checked(name, scale)
        self._changed(name)

    def __delitem__(self, name: str) -> None:
        raise TrainingError(f"the scale of {name!r} cannot be taken out; assign ones to do without")

    def __iter__(self) -> Iterator[str]:
        return iter(self._scales)

    def __len__(self) -> int:
        return len(self._scales)

    def checked(self, name: str, scale: Tensor) -> Tensor:
        """A copy of ``scale`` as it is kept, if it is one of layer ``name``."""
        if name not in self._windows:
            raise TrainingError(f"layer {name!r} has no scale; there are {', '.join(self._windows)}")
        taps = torch.as_tensor(scale, dtype=torch.float64).detach().cpu().clone()
        kernel = self._windows[name].kernel
        if tuple(taps.shape) != kernel:
            raise TrainingError(f"the scale of {name!r} has shape {tuple(taps.shape)}; its window is {kernel}")
        if not bool((taps.isfinite() & (taps > 0)).all()):
            raise TrainingError(f"the scale of {name!r} must be positive and finite; it is {taps.tolist()}")
        return taps
