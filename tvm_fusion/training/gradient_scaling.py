"""SpatialGradientScaling: gradients of a convolution's taps scaled by how the layer's input hangs together.

The method of "Reparameterization through Spatial Gradient Scaling" (ICLR 2023, arXiv 2303.02733).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.conv_window import ConvWindow, normalised
from tvm_fusion.training.dependence.base import SpatialDependence
from tvm_fusion.training.dependence.mutual_information import MutualInformation
from tvm_fusion.training.layers import plain, scaled_layers
from tvm_fusion.training.observation import Forward, default_forward, observe
from tvm_fusion.training.optimizer_form import OptimizerForm, Placed, make_form
from tvm_fusion.training.scales import Scales

_VERSION = 1


class SpatialGradientScaling:
    """Scales what the taps of a model's convolutions learn, each layer by its own G (K_h, K_w).

    Two lines of a training loop::

        sgs = SpatialGradientScaling(model, optimizer, update_every=5)
        for epoch in range(epochs):
            sgs.epoch(loader)
            ...

    ``optimizer``: may come later (:meth:`attach`). ``k``, ``ignore_zeros``: see :class:`MutualInformation`, or give
    another ``dependence``. ``update_every``: epochs from one G to the next, the first after so many; None: G stays as
    it is. ``batches``: how many of a loader's batches make a G. ``modules``: names of the layers, else all convolutions
    with more than one tap in both dimensions. ``forward``: how a batch goes through the model.

    Raises TrainingError for wrong arguments, for a model without such layers, for layers that are frozen or shared, and
    for an optimizer that does not hold them or that is not known.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer | None = None,
        k: float = 5.0,
        update_every: int | None = 5,
        batches: int = 2,
        ignore_zeros: bool = False,
        modules: Iterable[str] | None = None,
        dependence: SpatialDependence | None = None,
        forward: Forward = default_forward,
    ) -> None:
        if update_every is not None and (isinstance(update_every, bool) or update_every < 1):
            raise TrainingError(f"update_every {update_every!r} must be a whole number from 1, or None")
        if isinstance(batches, bool) or not isinstance(batches, int) or batches < 1:
            raise TrainingError(f"batches {batches!r} must be a whole number from 1")
        self.dependence = MutualInformation(k, ignore_zeros) if dependence is None else dependence
        self.model, self.update_every, self.batches, self.forward = model, update_every, batches, forward
        self.layers = scaled_layers(model, modules)
        self.windows = {name: ConvWindow.of(layer) for name, layer in self.layers.items()}
        self.epochs = 0  # begun so far
        self._scales = Scales(self.windows, self._assigned)
        self._updates = dict(self._scales)  # what scales updates, by layer
        self._placed: Placed | None = None
        self._form: OptimizerForm | None = None
        if optimizer is not None:
            self.attach(optimizer)

    @property
    def scales(self) -> Scales:
        """G by the layer's name; can be assigned, one or all."""
        return self._scales

    @scales.setter
    def scales(self, scales: Mapping[str, Tensor]) -> None:
        checked = {name: self._scales.checked(name, scale) for name, scale in scales.items()}
        for name, scale in checked.items():
            self._scales[name] = scale

    def attach(self, optimizer: Optimizer) -> None:
        """Scale the steps of ``optimizer`` from now on; another one before is let go."""
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        for name, layer in self.layers.items():
            if id(layer.weight) not in held:
                raise TrainingError(f"the optimizer does not hold the weight of {name!r}")
        form = make_form(optimizer, self._in_place)
        self.detach()
        self._form = form

    def detach(self) -> None:
        """Let the optimizer go: its steps are its own again."""
        if self._form is not None:
            self._form.remove()
        self._form = None

    def epoch(self, loader: Iterable[Any] | None = None) -> bool:
        """Say that an epoch begins. Every ``update_every`` epochs, G is computed from ``loader``; whether it was."""
        due = self.update_every is not None and self.epochs > 0 and self.epochs % self.update_every == 0
        if due:
            if loader is None and self.dependence.passes:
                raise TrainingError(
                    f"epoch {self.epochs} needs batches to compute scales from; give epoch() the loader"
                )
            self.update(() if loader is None else loader)
        self.epochs += 1
        return due

    def update(self, batches: Iterable[Any]) -> None:
        """Compute every G now, from the first of ``batches``. If that fails, all stay as they were.

        Of processes that train together each gives its own batches; all get the mean of their results.
        """
        model, passes = plain(self.model), self.dependence.passes
        observers = {name: self.dependence.observer(window, name) for name, window in self.windows.items()}
        reached = set(self.layers)
        if passes:
            taken = list(islice(batches, self.batches))
            if not taken:
                raise TrainingError("there is no batch to compute scales from: the loader is empty or exhausted")
            reached = observe(model, self.layers, observers, taken, passes, self.forward)
        found = {name: _together(observers[name].taps()) for name in self.layers if name in reached}
        if self.dependence.normalises:
            found = {name: normalised(taps) for name, taps in found.items()}
        self.scales = found
        for name, scale in found.items():
            self._updates[name] = self.dependence.update_scale(self.windows[name], scale)

    def state_dict(self) -> dict[str, Any]:
        """All that a later run needs to go on as this one would."""
        return {
            "version": _VERSION,
            "epochs": self.epochs,
            "scales": {name: scale.clone() for name, scale in self._scales.items()},
            "update_scales": {name: scale.clone() for name, scale in self._updates.items()},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from :meth:`state_dict`. Raises TrainingError for one of another model or version; nothing changes."""
        if not isinstance(state, Mapping) or state.get("version") != _VERSION:
            raise TrainingError(f"this is no state of gradient scaling of version {_VERSION}")
        names = list(state["scales"])
        if set(names) != set(self.layers):
            other = sorted(set(names) ^ set(self.layers))
            raise TrainingError(f"the state is of another model: {other[0]!r} is in one of them only")
        scales, updates = (
            {name: self._scales.checked(name, scale) for name, scale in state[key].items()}
            for key in ("scales", "update_scales")
        )
        self.scales = scales
        self._updates, self.epochs = updates, state["epochs"]
        self._placed = None

    def _assigned(self, name: str) -> None:
        self._updates[name] = self._scales[name]
        self._placed = None

    def _in_place(self) -> Placed:
        """The scales other than ones, where the weights are."""
        placed = self._placed
        if placed is None or any(weight.device != scale.device for weight, (scale, _) in placed.items()):
            found = {}
            for name, layer in self.layers.items():
                weight, pair = layer.weight, (self._scales[name], self._updates[name])
                if any(bool((scale != 1).any()) for scale in pair):
                    first, second = (scale.to(weight.device, weight.dtype)[None, None] for scale in pair)
                    found[weight] = first, second
            self._placed = placed = found
        return placed


def _together(taps: Tensor) -> Tensor:
    """The mean over all processes that train together, the same in each of them."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return taps
    count = torch.distributed.get_world_size()
    if count > 1:
        device = "cuda" if torch.distributed.get_backend() == "nccl" else "cpu"
        shared = taps.to(device)
        torch.distributed.all_reduce(shared)
        torch.distributed.broadcast(shared, src=0)
        taps = shared.cpu() / count
    return taps
