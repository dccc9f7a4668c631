"""Checkpoints on disk: weights as safetensors, and beside them a JSON card that says what they are."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save

from tvm_fusion.errors import ExplainerError
from tvm_fusion.files import write_bytes_atomic, write_text_atomic


def write_checkpoint(
    path: str | Path, state: Mapping[str, Any], head: Mapping[str, Any], facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Write weights to ``path`` (.safetensors) and the card beside it (.json); the card: head, SHA-256, facts.

    Raises FusionError if a file cannot be written.
    """
    weights = save({name: value.detach().contiguous() for name, value in state.items()})
    card = {**head, "sha256": hashlib.sha256(weights).hexdigest(), **facts}
    write_bytes_atomic(path, weights)
    write_text_atomic(Path(path).with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


def read_checkpoint(name: str, path: str | Path | None) -> tuple[bytes, Any]:
    """Weights and parsed card of the files at ``path``, or of the shipped ``name`` (.safetensors).

    Raises ExplainerError in one line if they cannot be read or the card is no JSON.
    """
    folder: Any = resources.files("tvm_fusion.explainers") / "checkpoints" if path is None else Path(path).parent
    file = Path(name if path is None else path)
    try:
        weights, text = ((folder / part).read_bytes() for part in (file.name, file.with_suffix(".json").name))
    except OSError as error:
        raise ExplainerError(f"cannot read checkpoint {name!r} and its card: {error.strerror or error}") from None
    try:
        return weights, json.loads(text)
    except ValueError as error:
        raise ExplainerError(f"the card of checkpoint {name!r} is not JSON: {error}") from None


def is_whole(weights: bytes, card: Mapping[str, Any]) -> bool:
    """Whether the weights are those that the card was written with."""
    return hashlib.sha256(weights).hexdigest() == card.get("sha256")


def tensors_of(name: str, weights: bytes) -> dict[str, Any]:
    """The tensors by name. Raises ExplainerError for what is no safetensors file."""
    try:
        state: dict[str, Any] = load(weights)
    except (SafetensorError, ValueError) as error:
        raise ExplainerError(f"checkpoint {name!r} is not a safetensors file: {error}") from None
    return state
