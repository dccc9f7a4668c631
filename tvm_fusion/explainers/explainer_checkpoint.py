"""Checkpoints of trained explainers: safetensors and a card, bound to the classifier that they were trained for."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.checkpoint import load_card
from tvm_fusion.explainers.checkpoint_files import is_whole, read_checkpoint, tensors_of, write_checkpoint

FORMAT = "tvm-fusion explainer"
FORMAT_VERSION = 1


def save_explainer(
    module: nn.Module, path: str | Path, kind: str, classifier_sha256: str, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the weights to ``path`` (.safetensors) and the card beside it (.json); the card.

    ``kind`` is "pg" or "rg"; ``facts`` (command, data, settings) join what the card says of itself. Raises
    FusionError if a file cannot be written.
    """
    head = {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind}
    return write_checkpoint(path, module.state_dict(), head, {"classifier_sha256": classifier_sha256, **(facts or {})})


def load_explainer(module: nn.Module, kind: str, scheme: str = "lbdf", path: str | Path | None = None) -> None:
    """Fill ``module`` with the shipped weights of ``kind``, or those at ``path``, for the shipped classifier.

    Raises ExplainerError in one line for files that are missing, damaged, or trained for another classifier.
    """
    name = str(path) if path is not None else f"{scheme}_{kind}.safetensors"
    weights, card = read_checkpoint(name, path)
    if not isinstance(card, dict):
        raise ExplainerError(f"the card of checkpoint {name!r} is not a JSON object")
    for key, value in {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind}.items():
        if card.get(key) != value:
            raise ExplainerError(f"checkpoint {name!r} has {key} {card.get(key)!r}, not {value!r}")
    if not is_whole(weights, card):
        raise ExplainerError(f"checkpoint {name!r} is damaged: its SHA-256 is not the one of its card")
    wanted = load_card(scheme)["sha256"]
    if card.get("classifier_sha256") != wanted:
        raise ExplainerError(
            f"checkpoint {name!r} was trained for classifier {str(card.get('classifier_sha256'))[:12]}, the one for "
            f"{scheme!r} is {wanted[:12]}; train the explainer again (tvm-fusion train-explainer)"
        )
    state = tensors_of(name, weights)
    expected = module.state_dict()
    shapes = {key: value.shape for key, value in state.items()}
    if shapes != {key: value.shape for key, value in expected.items()}:
        raise ExplainerError(f"checkpoint {name!r} has other tensors than the explainer")
    if not all(torch.isfinite(value).all() for value in state.values()):
        raise ExplainerError(f"checkpoint {name!r} has values that are not finite")
    module.load_state_dict(state)


def explains(path: str | Path, kind: str, classifier_sha256: str) -> bool:
    """Whether a whole explainer of ``kind`` at ``path`` was trained for that classifier."""
    try:
        weights, card = read_checkpoint(str(path), path)
        return (card["kind"], card["classifier_sha256"]) == (kind, classifier_sha256) and is_whole(weights, card)
    except (ExplainerError, KeyError, TypeError, AttributeError):
        return False
