"""What layers see: inputs of some batches, in eval mode, handed to observers as they pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.dependence.base import Observer

Forward = Callable[[nn.Module, Any], Any]


def observe(
    model: nn.Module, layers: Mapping[str, nn.Module], observers: Mapping[str, Observer], batches: Sequence[Any],
    passes: int, forward: Forward,
) -> set[str]:  # fmt: skip
    """Run ``batches`` through ``model`` ``passes`` times; the names of the layers that were reached.

    A layer that is used several times shows the inputs of all uses. Nothing of the model is changed: a batch norm that
    has seen no data yet normalises by the batch, all others by what they know. Raises TrainingError for an input that
    is not finite.
    """
    reached: set[str] = set()
    turn = 0

    def watch(name: str) -> Callable[..., None]:
        def hook(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            inputs: Tensor = (args or tuple(kwargs.values()))[0].detach()
            if not turn and not bool(inputs.isfinite().all()):
                raise TrainingError(f"the input of {name!r} has values that are not finite; its scale is kept")
            if inputs.dim() == 3:  # one image without a batch axis
                inputs = inputs[None]
            observers[name].observe(observers[name].window.padded(inputs), turn)
            reached.add(name)

        return hook

    handles = [layer.register_forward_pre_hook(watch(name), with_kwargs=True) for name, layer in layers.items()]
    try:
        with torch.no_grad(), _as_in_use(model):
            for turn in range(passes):  # noqa: B007 - the hooks see it
                for batch in batches:
                    forward(model, batch)
    finally:
        for handle in handles:
            handle.remove()
    return reached


def default_forward(model: nn.Module, batch: Any) -> Any:
    """Call a model on a batch of a usual kind: the inputs, a tuple that begins with them, or keyword arguments."""
    device = next(model.parameters()).device
    if isinstance(batch, Mapping):
        return model(**{key: _to(device, value) for key, value in batch.items()})
    while isinstance(batch, tuple | list):
        if not batch:
            raise TrainingError("a batch is empty; its first entry should be the model's input")
        batch = batch[0]
    if not isinstance(batch, Tensor):
        raise TrainingError(f"a batch is a {type(batch).__name__}; give tensors, tuples or dicts of them, or forward=")
    return model(_to(device, batch))


def _to(device: torch.device, value: Any) -> Any:
    return value.to(device) if isinstance(value, Tensor) else value


@contextmanager
def _as_in_use(model: nn.Module) -> Iterator[None]:
    """Eval mode for all modules, and afterwards each as it was."""
    training = {module: module.training for module in model.modules()}
    fresh: dict[nn.modules.batchnorm._BatchNorm, tuple[float | None, Tensor]] = {}
    for module in training:
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            seen = module.num_batches_tracked
            if seen is not None and not int(seen):
                fresh[module] = module.momentum, seen.clone()
    try:
        model.eval()
        for module in fresh:
            module.train()
            module.momentum = 0.0  # what it knows stays
        yield
    finally:
        for module, was in training.items():
            module.training = was
        for module, (momentum, seen) in fresh.items():
            module.momentum = momentum
            module.num_batches_tracked.copy_(seen)
