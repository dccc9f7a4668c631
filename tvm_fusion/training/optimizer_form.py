"""OptimizerForm: where a scale enters a step of an optimizer, so that the one kernel learns as branches would.

SGD is linear in the gradient: the gradient is scaled, after clipping, before the step; momentum and weight decay follow
the optimizer's own rule, which leaves the decay unscaled. Adam and its kin divide the gradient by its own size, so that
a scaled one would change nothing: there the step itself is scaled, without a decoupled weight decay.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tvm_fusion.errors import TrainingError

# By weight what scales its gradients, and what its updates; each (1, 1, K_h, K_w), where the weight is.
Placed = Mapping[nn.Parameter, tuple[Tensor, Tensor]]
_LINEAR = (torch.optim.SGD, torch.optim.ASGD)
_ADAPTIVE = (
    torch.optim.Adam, torch.optim.AdamW, torch.optim.NAdam, torch.optim.RAdam, torch.optim.Adamax, torch.optim.RMSprop,
    torch.optim.Adagrad, torch.optim.Adadelta,
)  # fmt: skip


class OptimizerForm(ABC):
    """Hooks of one optimizer. ``scales`` are asked for at every step."""

    def __init__(
        self, optimizer: Optimizer, scales: Callable[[], Mapping[nn.Parameter, tuple[Tensor, Tensor]]]
    ) -> None:
        self.optimizer, self.scales = optimizer, scales
        self._handles = [
            optimizer.register_step_pre_hook(self._before),
            optimizer.register_step_post_hook(self._after),
        ]

    def remove(self) -> None:
        """Leave the optimizer as it was."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    @abstractmethod
    def _before(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Before a step; may return other arguments for it."""

    @abstractmethod
    def _after(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """After it."""


class ScaledGradients(OptimizerForm):
    """The gradients are scaled while the step runs; after it they are what they were."""

    _unscaled: Sequence[tuple[nn.Parameter, Tensor, Tensor]] = ()

    def _before(self, _: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        self._restore()  # an earlier step may have failed
        closure = kwargs.get("closure", args[1] if len(args) > 1 else None)
        if closure is None:
            self._scale()
            return None

        def scaled() -> Any:
            self._restore()
            loss = closure()
            self._scale()
            return loss

        return (args[:1], {**kwargs, "closure": scaled})

    def _after(self, *_: Any) -> None:
        self._restore()

    def _scale(self) -> None:
        found = [(weight, scale) for weight, (scale, _) in self.scales().items() if weight.grad is not None]
        if not found:
            return
        gradients = [weight.grad for weight, _ in found]
        with torch.no_grad():
            scaled = torch._foreach_mul(gradients, [scale for _, scale in found])
        self._unscaled = list(zip((weight for weight, _ in found), gradients, scaled, strict=True))
        for weight, _, gradient in self._unscaled:
            weight.grad = gradient

    def _restore(self) -> None:
        for weight, before, scaled in self._unscaled:
            if weight.grad is scaled:
                weight.grad = before
        self._unscaled = ()


class ScaledUpdates(OptimizerForm):
    """What a step adds to a weight is scaled after it; a decoupled weight decay is not."""

    _old: Sequence[tuple[nn.Parameter, Tensor, Tensor, float]] = ()

    def _before(self, optimizer: Optimizer, *_: Any) -> None:
        scales = self.scales()
        found = []
        for group in optimizer.param_groups:
            kept = 1.0 - float(group["lr"]) * group["weight_decay"] if _decoupled(optimizer, group) else 1.0
            found += [(weight, scales[weight][1], kept) for weight in group["params"] if weight in scales]
        self._old = [(weight, weight.detach().clone(), scale, kept) for weight, scale, kept in found]

    def _after(self, *_: Any) -> None:
        with torch.no_grad():
            for weight, old, scale, kept in self._old:
                decayed = old.mul_(kept)
                weight.sub_(decayed).mul_(scale).add_(decayed)
        self._old = ()


def make_form(optimizer: Optimizer, scales: Callable[[], Placed]) -> OptimizerForm:
    """The form of an optimizer. Raises TrainingError for one that is not known: a scale could do nothing there."""
    if isinstance(optimizer, _ADAPTIVE):
        return ScaledUpdates(optimizer, scales)
    if isinstance(optimizer, _LINEAR):
        return ScaledGradients(optimizer, scales)
    names = ", ".join(c.__name__ for c in (*_LINEAR, *_ADAPTIVE))
    raise TrainingError(f"how {type(optimizer).__name__} uses gradients is not known; allowed: {names}")


def _decoupled(optimizer: Optimizer, group: Mapping[str, Any]) -> bool:
    return bool(group.get("decoupled_weight_decay", isinstance(optimizer, torch.optim.AdamW)))
