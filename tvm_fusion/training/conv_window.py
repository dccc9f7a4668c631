"""ConvWindow: the sliding window of a convolution, as its gradient scaling needs it."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from tvm_fusion.errors import TrainingError

Tap = tuple[int, int]


@dataclass(frozen=True, slots=True)
class ConvWindow:
    """Taps of a window (height, width), what lies between them, and how the layer pads its input.

    ``padding``: rows and columns (left, right, top, bottom), as torch.nn.functional.pad takes them. The centre of an
    even number of taps is the earlier of the two in the middle, as in a layer with "same" padding.
    """

    kernel: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    padding_mode: str = "zeros"

    @classmethod
    def of(cls, layer: nn.Conv2d) -> ConvWindow:
        """The window of a layer."""
        (height, width), (down, right) = layer.kernel_size, layer.dilation
        if layer.padding == "valid":
            pads = (0, 0, 0, 0)
        elif layer.padding == "same":
            rows, columns = down * (height - 1), right * (width - 1)
            pads = (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2)
        else:
            rows, columns = layer.padding
            pads = (columns, columns, rows, rows)
        return cls((height, width), (down, right), pads, layer.padding_mode)

    @property
    def centre(self) -> Tap:
        """The tap in the middle."""
        return (self.kernel[0] - 1) // 2, (self.kernel[1] - 1) // 2

    def displacements(self) -> dict[Tap, list[Tap]]:
        """Displacements (rows, columns) from the centre, one of d and -d, each with the taps that have it or its
        opposite; without the centre's own."""
        found: dict[Tap, list[Tap]] = {}
        for i in range(self.kernel[0]):
            for j in range(self.kernel[1]):
                d = (i - self.centre[0]) * self.dilation[0], (j - self.centre[1]) * self.dilation[1]
                if d != (0, 0):
                    found.setdefault(max(d, (-d[0], -d[1])), []).append((i, j))
        return found

    def padded(self, inputs: Tensor) -> Tensor:
        """A layer's input (N, C, H, W) with the border that the layer adds."""
        if not any(self.padding):
            return inputs
        mode = "constant" if self.padding_mode == "zeros" else self.padding_mode
        return F.pad(inputs, self.padding, mode=mode)

    def pair(self, padded: Tensor, displacement: Tap) -> tuple[Tensor, Tensor]:
        """Values at all positions p, and at p + ``displacement``, where both lie in the padded map."""
        (down, right), (height, width) = displacement, padded.shape[-2:]
        if down >= height or abs(right) >= width:
            raise TrainingError(
                f"an input of {height} x {width} with its padding has no two positions {displacement} apart; "
                f"a window of {self.kernel} with dilation {self.dilation} needs more"
            )
        left, end = max(0, -right), width - max(0, right)
        return padded[..., : height - down, left:end], padded[..., down:, left + right : end + right]


def is_scaled(layer: nn.Module) -> bool:
    """Whether a layer has a G: a two-dimensional convolution with more than one tap in both dimensions."""
    return isinstance(layer, nn.Conv2d) and min(layer.kernel_size) > 1


def normalised(taps: Tensor) -> Tensor:
    """G (K_h, K_w) of the taps' values: their mean becomes 1."""
    return taps / taps.mean()
