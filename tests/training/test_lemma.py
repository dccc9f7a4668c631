"""One kernel with scaled gradients (or updates) goes where the branches go that it stands for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tvm_fusion.training.branches import Branch, Branches
from tvm_fusion.training.dependence.fixed import OfBranches
from tvm_fusion.training.gradient_scaling import SpatialGradientScaling

SETS = {
    "of one": Branches([(3, 3), (1, 3), (3, 1), (1, 1)]),
    "five by five": Branches([Branch((5, 5)), Branch((3, 3), 0.5), Branch((1, 1), 2.0)]),
    "signs": Branches([Branch((3, 3), 0.7), Branch((1, 3), -1.5), Branch((1, 1), 0.3)]),
}


class Branched(nn.Module):
    """Real branches: W = sum of a_i * w_i, each at its place."""

    def __init__(self, branches: Branches) -> None:
        super().__init__()
        self.branches = branches
        self.kernels = nn.ParameterList(
            torch.randn(4, 3, *b.kernel, dtype=torch.float64) / 5 for b in branches.branches
        )

    def weight(self) -> Tensor:
        total = torch.zeros(4, 3, *self.branches.kernel, dtype=torch.float64)
        for branch, kernel in zip(self.branches.branches, self.kernels, strict=True):
            rows, columns = ((w - s) // 2 for w, s in zip(self.branches.kernel, branch.kernel, strict=True))
            total = total + branch.constant * F.pad(kernel, (columns, columns, rows, rows))
        return total

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight(), padding="same")


def difference(branches: Branches, make: Callable[[Any], torch.optim.Optimizer], steps: int = 60) -> float:
    """Largest difference of the kernels after so many steps from the same place."""
    torch.manual_seed(0)
    branched = Branched(branches)
    dense = nn.Conv2d(3, 4, branches.kernel, padding="same", bias=False, dtype=torch.float64)
    with torch.no_grad():
        dense.weight.copy_(branched.weight())
    optimizers = make(branched.parameters()), make(dense.parameters())
    sgs = SpatialGradientScaling(dense, optimizers[1], dependence=OfBranches(branches))
    sgs.update(())
    largest = 0.0
    for _ in range(steps):
        x, target = torch.randn(2, 3, 8, 8, dtype=torch.float64), torch.randn(2, 4, 8, 8, dtype=torch.float64)
        for model, optimizer in zip((branched, dense), optimizers, strict=True):
            optimizer.zero_grad()
            F.mse_loss(model(x), target).backward()
            optimizer.step()
        largest = max(largest, float((branched.weight() - dense.weight).abs().max()))
    return largest


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("nesterov", [False, True])
def test_sgd(name: str, nesterov: bool) -> None:
    settings = {"lr": 0.1, "momentum": 0.9, "nesterov": nesterov, "weight_decay": 5e-4}
    assert difference(SETS[name], lambda p: torch.optim.SGD(p, **settings)) < 1e-12


# A constant factor of the gradient cancels where nothing is added to the root (eps 0) or to the gradient (decay).
@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("make", [
    lambda p: torch.optim.Adam(p, lr=0.01, eps=0),
    lambda p: torch.optim.Adam(p, lr=0.01, eps=0, amsgrad=True),
    lambda p: torch.optim.AdamW(p, lr=0.01, eps=0, weight_decay=0.05),
    lambda p: torch.optim.NAdam(p, lr=0.01, eps=0),
    lambda p: torch.optim.NAdam(p, lr=0.01, eps=0, weight_decay=0.05, decoupled_weight_decay=True),
    lambda p: torch.optim.Adamax(p, lr=0.01, eps=0),
    lambda p: torch.optim.RMSprop(p, lr=0.001, eps=0),
    lambda p: torch.optim.Adagrad(p, lr=0.01, eps=0),
])  # fmt: skip
def test_adam_and_its_kin(name: str, make: Callable[[Any], torch.optim.Optimizer]) -> None:
    assert difference(SETS[name], make) < 1e-12


def test_without_scaling_they_part() -> None:
    torch.manual_seed(0)
    branches = SETS["of one"]
    assert difference(Branches([(3, 3)]), lambda p: torch.optim.SGD(p, lr=0.1)) < 1e-12
    sgs_of_ones = SpatialGradientScaling(nn.Conv2d(3, 4, 3))
    assert not bool((branches.gradient_scale() == sgs_of_ones.scales[""]).all())


def test_what_branches_do() -> None:
    assert Branches([(3, 3), (1, 1)]).gradient_scale().tolist() == [[1, 1, 1], [1, 2, 1], [1, 1, 1]]
    assert Branches([(3, 3), (1, 3), (3, 1)]).gradient_scale().tolist() == [[1, 2, 1], [2, 3, 2], [1, 2, 1]]
    assert Branches([Branch((3, 3)), Branch((1, 1), -2.0)]).update_scale()[1, 1] == 3
