"""Branches: masks and constants of parallel convolutions that add up to one, W = sum of a_i * M_i * w_i."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from tvm_fusion.errors import TrainingError


@dataclass(frozen=True, slots=True)
class Branch:
    """A convolution of ``kernel`` (height, width) taps, times a constant."""

    kernel: tuple[int, int]
    constant: float = 1.0


class Branches:
    """A set of branches; kernels lie at the centre of the largest one's window.

    Raises TrainingError for none, for a kernel that has no place in the middle, and for a window with a tap that no
    branch has: it would never learn.
    """

    def __init__(self, branches: Iterable[Branch | tuple[int, int]]) -> None:
        found = [branch if isinstance(branch, Branch) else Branch(branch) for branch in branches]
        if not found:
            raise TrainingError("there is no branch; at least one is needed")
        self.branches = tuple(found)
        self.kernel = max(b.kernel[0] for b in found), max(b.kernel[1] for b in found)
        for branch in found:
            if any(size < 1 or (whole - size) % 2 for size, whole in zip(branch.kernel, self.kernel, strict=True)):
                raise TrainingError(f"a branch of {branch.kernel} taps does not lie in the middle of {self.kernel}")
        if not bool((self.gradient_scale() > 0).all()):
            raise TrainingError(f"some of the {self.kernel} taps are in no branch with a constant other than 0")

    def mask(self, branch: Branch) -> Tensor:
        """The taps (K_h, K_w) of a branch: 1 where it has one, in float64."""
        (height, width), (rows, columns) = self.kernel, branch.kernel
        top, left = (height - rows) // 2, (width - columns) // 2
        mask = torch.zeros(self.kernel, dtype=torch.float64)
        mask[top : top + rows, left : left + columns] = 1
        return mask

    def gradient_scale(self) -> Tensor:
        """G = sum of a_i^2 * M_i: what scales gradients of the one kernel (K_h, K_w) for SGD to do as the branches."""
        return sum((b.constant**2 * self.mask(b) for b in self.branches), torch.zeros(self.kernel, dtype=torch.float64))

    def update_scale(self) -> Tensor:
        """Sum of |a_i| * M_i: what scales its updates for Adam to do so.

        A negative constant turns the sign of the branch's gradient and of its share in the kernel.
        """
        return sum(
            (abs(b.constant) * self.mask(b) for b in self.branches), torch.zeros(self.kernel, dtype=torch.float64)
        )
