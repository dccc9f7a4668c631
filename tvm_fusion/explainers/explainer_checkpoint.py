"""Checkpoints of trained explainers: safetensors and a card, bound to the classifier that they were trained for."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import nn

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.checkpoint import load_card
from tvm_fusion.files import write_bytes_atomic, write_text_atomic

FORMAT = "tvm-fusion explainer"
FORMAT_VERSION = 1


def save_explainer(
    module: nn.Module, path: str | Path, kind: str, classifier_sha256: str, facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the weights to ``path`` (.safetensors) and the card beside it (.json); the card.

    ``kind`` is "pg" or "rg"; ``facts`` (command, data, settings) join what the card says of itself. Raises
    FusionError if a file cannot be written.
    """
    weights = save({name: value.detach().contiguous() for name, value in module.state_dict().items()})
    card = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "kind": kind,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "classifier_sha256": classifier_sha256,
        **(facts or {}),
    }
    write_bytes_atomic(path, weights)
    write_text_atomic(Path(path).with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


def load_explainer(module: nn.Module, kind: str, scheme: str = "lbdf", path: str | Path | None = None) -> None:
    """Fill ``module`` with the shipped weights of ``kind``, or those at ``path``, for the shipped classifier.

    Raises ExplainerError in one line for files that are missing, damaged, or trained for another classifier.
    """
    name = str(path) if path is not None else f"{scheme}_{kind}.safetensors"
    weights, text = _read(name, path)
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ExplainerError(f"the card of checkpoint {name!r} is not JSON: {error}") from None
    if not isinstance(card, dict):
        raise ExplainerError(f"the card of checkpoint {name!r} is not a JSON object")
    for key, value in {"format": FORMAT, "version": FORMAT_VERSION, "kind": kind}.items():
        if card.get(key) != value:
            raise ExplainerError(f"checkpoint {name!r} has {key} {card.get(key)!r}, not {value!r}")
    if hashlib.sha256(weights).hexdigest() != card.get("sha256"):
        raise ExplainerError(f"checkpoint {name!r} is damaged: its SHA-256 is not the one of its card")
    wanted = load_card(scheme)["sha256"]
    if card.get("classifier_sha256") != wanted:
        raise ExplainerError(
            f"checkpoint {name!r} was trained for classifier {str(card.get('classifier_sha256'))[:12]}, the one for "
            f"{scheme!r} is {wanted[:12]}; train the explainer again (tvm-fusion train-explainer)"
        )
    try:
        state = load(weights)
    except (SafetensorError, ValueError) as error:
        raise ExplainerError(f"checkpoint {name!r} is not a safetensors file: {error}") from None
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
        weights, text = _read(str(path), path)
        card = json.loads(text)
        wanted = (kind, classifier_sha256, hashlib.sha256(weights).hexdigest())
        return bool((card["kind"], card["classifier_sha256"], card["sha256"]) == wanted)
    except (ExplainerError, ValueError, KeyError, TypeError):
        return False


def _read(name: str, path: str | Path | None) -> tuple[bytes, bytes]:
    if path is None:
        folder = resources.files("tvm_fusion.explainers") / "checkpoints"
        files = folder / name, folder / name.replace(".safetensors", ".json")
    else:
        files = Path(path), Path(path).with_suffix(".json")
    try:
        return files[0].read_bytes(), files[1].read_bytes()
    except OSError as error:
        raise ExplainerError(f"cannot read checkpoint {name!r} and its card: {error.strerror or error}") from None
