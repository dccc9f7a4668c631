"""The layers of a model that have a G, by name."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.conv_window import is_scaled


def plain(model: nn.Module) -> nn.Module:
    """The model in torch.compile's and data parallel wrappers."""
    while True:
        inner = getattr(model, "_orig_mod", None)
        if inner is None and isinstance(model, nn.parallel.DistributedDataParallel | nn.DataParallel):
            inner = model.module
        if inner is None:
            return model
        model = inner


def scaled_layers(model: nn.Module, names: Iterable[str] | None = None) -> dict[str, nn.Conv2d]:
    """The convolutions with more than one tap in both dimensions, all or those of ``names``.

    Raises TrainingError if there are none, for a name that is none of them, and for a layer whose weight is frozen or
    belongs to another one too.
    """
    modules = dict(plain(model).named_modules(remove_duplicate=False))
    found = {name: module for name, module in modules.items() if isinstance(module, nn.Conv2d) and is_scaled(module)}
    if not found:
        raise TrainingError("the model has no convolution with more than one tap in both dimensions")
    if names is None:
        chosen = found
    else:
        wanted = [names] if isinstance(names, str) else list(names)
        for name in wanted:
            if name not in found:
                raise TrainingError(
                    f"module {name!r} is no convolution with more than one tap; there are {_some(found)}"
                )
        chosen = {name: found[name] for name in dict.fromkeys(wanted)}
        if not chosen:
            raise TrainingError(f"modules {names!r} names no layer; there are {_some(found)}")
    for name, layer in chosen.items():
        if not layer.weight.requires_grad:
            raise TrainingError(f"the weight of {name!r} is frozen; name the layers to scale with modules=")
        for other, module in modules.items():
            same = getattr(module, "weight", None) is layer.weight
            if same and other != name:
                raise TrainingError(
                    f"{name!r} and {other!r} share a weight, which can have one scale only; "
                    "name the layers to scale with modules=, without both"
                    if module is not layer
                    else f"{name!r} and {other!r} are one module; name the layers to scale with modules=, without it"
                )
    return chosen


def _some(found: dict[str, nn.Conv2d]) -> str:
    names = list(found)
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
