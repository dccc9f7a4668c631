"""Checkpoints of the validity classifier: weights as safetensors, and a JSON card that says what they are."""

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

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.classifier import HIDDEN, LAYERS, ValidityClassifier
from tvm_fusion.explainers.features import FEATURES, OPERATOR_TYPES
from tvm_fusion.files import write_bytes_atomic, write_text_atomic

FORMAT = "tvm-fusion validity classifier"
FORMAT_VERSION = 1


def shipped_schemes() -> list[str]:
    """Schemes that a classifier ships for."""
    folder = resources.files("tvm_fusion.explainers") / "checkpoints"
    cards = [entry for entry in folder.iterdir() if entry.name.endswith(".json")]
    # Other trained things lie there too.
    return sorted(card.name.removesuffix(".json") for card in cards if FORMAT in card.read_text("utf-8"))


def save_checkpoint(
    classifier: ValidityClassifier, path: str | Path, scheme: str = "lbdf", facts: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Write the weights to ``path`` (.safetensors) and the card beside it (.json); the card.

    ``facts`` (data, command, seed, versions, metrics) join what the card says of itself. Raises FusionError if a
    file cannot be written.
    """
    weights = save({name: value.contiguous() for name, value in classifier.state_dict().items()})
    card = {
        "format": FORMAT,
        "version": FORMAT_VERSION,
        "scheme": scheme,
        "sha256": hashlib.sha256(weights).hexdigest(),
        "hidden": HIDDEN,
        "layers": LAYERS,
        "types": list(OPERATOR_TYPES),
        "features": list(FEATURES),
        **(facts or {}),
    }
    write_bytes_atomic(path, weights)
    write_text_atomic(Path(path).with_suffix(".json"), json.dumps(card, indent=1) + "\n")
    return card


def load_card(scheme: str = "lbdf", path: str | Path | None = None) -> dict[str, Any]:
    """The card of a checkpoint, checked. Raises ExplainerError in one line."""
    name, _, text = _read(scheme, path)
    return _card(name, scheme, text)


def load_classifier(scheme: str = "lbdf", path: str | Path | None = None) -> ValidityClassifier:
    """The shipped classifier of ``scheme``, or the one at ``path`` (.safetensors), in evaluation mode.

    Raises ExplainerError in one line for a file that is missing, damaged or for something else.
    """
    name, weights, text = _read(scheme, path)
    card = _card(name, scheme, text)
    if hashlib.sha256(weights).hexdigest() != card.get("sha256"):
        raise ExplainerError(f"checkpoint {name!r} is damaged: its SHA-256 is not the one of its card")
    try:
        state = load(weights)
    except (SafetensorError, ValueError) as error:
        raise ExplainerError(f"checkpoint {name!r} is not a safetensors file: {error}") from None
    classifier = ValidityClassifier(types=len(card["types"]))
    expected = classifier.state_dict()
    if set(state) != set(expected):
        odd = sorted(set(state) ^ set(expected))[0]
        raise ExplainerError(f"checkpoint {name!r} has other tensors than the classifier: {odd!r}")
    for key, value in expected.items():
        if state[key].shape != value.shape or state[key].dtype != value.dtype:
            raise ExplainerError(
                f"tensor {key!r} of checkpoint {name!r} is {state[key].dtype} {list(state[key].shape)}, "
                f"the classifier has {value.dtype} {list(value.shape)}"
            )
        if not torch.isfinite(state[key]).all():
            raise ExplainerError(f"tensor {key!r} of checkpoint {name!r} has values that are not finite")
    classifier.load_state_dict(state)
    classifier.eval()
    return classifier


def _read(scheme: str, path: str | Path | None) -> tuple[str, bytes, bytes]:
    """(name for messages, weights, card)."""
    if path is None:
        if scheme not in shipped_schemes():
            raise ExplainerError(f"no classifier ships for scheme {scheme!r}; there is {', '.join(shipped_schemes())}")
        folder = resources.files("tvm_fusion.explainers") / "checkpoints"
        name = f"{scheme}.safetensors"
        files = folder / name, folder / f"{scheme}.json"
    else:
        name = str(path)
        files = Path(path), Path(path).with_suffix(".json")
    try:
        return name, files[0].read_bytes(), files[1].read_bytes()
    except OSError as error:
        raise ExplainerError(f"cannot read checkpoint {name!r} and its card: {error.strerror or error}") from None


def _card(name: str, scheme: str, text: bytes) -> dict[str, Any]:
    try:
        card = json.loads(text)
    except ValueError as error:
        raise ExplainerError(f"the card of checkpoint {name!r} is not JSON: {error}") from None
    if not isinstance(card, dict) or card.get("format") != FORMAT:
        raise ExplainerError(f"the card of checkpoint {name!r} does not say {FORMAT!r}")
    expected = {"version": FORMAT_VERSION, "scheme": scheme, "hidden": HIDDEN, "layers": LAYERS}
    for key, value in expected.items():
        if card.get(key) != value:
            raise ExplainerError(f"checkpoint {name!r} has {key} {card.get(key)!r}, not {value!r}")
    if card.get("features") != list(FEATURES):
        raise ExplainerError(f"checkpoint {name!r} was trained on other features than this version has")
    types = card.get("types")
    if not isinstance(types, list) or not types or types != list(OPERATOR_TYPES[: len(types)]):
        raise ExplainerError(f"checkpoint {name!r} was trained on other operator types than this version has")
    return card
