"""Checkpoints of the validity classifier: weights as safetensors, and a JSON card that says what they are."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import torch

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.checkpoint_files import is_whole, read_checkpoint, tensors_of, write_checkpoint
from tvm_fusion.explainers.classifier import HIDDEN, LAYERS, ValidityClassifier
from tvm_fusion.explainers.features import FEATURES, OPERATOR_TYPES

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
    head = {"format": FORMAT, "version": FORMAT_VERSION, "scheme": scheme}
    own = {"hidden": HIDDEN, "layers": LAYERS, "types": list(OPERATOR_TYPES), "features": list(FEATURES)}
    return write_checkpoint(path, classifier.state_dict(), head, {**own, **(facts or {})})


def load_card(scheme: str = "lbdf", path: str | Path | None = None) -> dict[str, Any]:
    """The card of a checkpoint, checked. Raises ExplainerError in one line."""
    name, _, card = _read(scheme, path)
    return _card(name, scheme, card)


@cache
def types_seen(scheme: str) -> frozenset[str]:
    """Operator types that the shipped classifier of ``scheme`` has learned from."""
    return frozenset(load_card(scheme).get("types_seen", OPERATOR_TYPES))


def load_classifier(scheme: str = "lbdf", path: str | Path | None = None) -> ValidityClassifier:
    """The shipped classifier of ``scheme``, or the one at ``path`` (.safetensors), in evaluation mode.

    Raises ExplainerError in one line for a file that is missing, damaged or for something else.
    """
    name, weights, found = _read(scheme, path)
    card = _card(name, scheme, found)
    if not is_whole(weights, card):
        raise ExplainerError(f"checkpoint {name!r} is damaged: its SHA-256 is not the one of its card")
    state = tensors_of(name, weights)
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


def _read(scheme: str, path: str | Path | None) -> tuple[str, bytes, Any]:
    """(name for messages, weights, card)."""
    if path is None and scheme not in shipped_schemes():
        raise ExplainerError(f"no classifier ships for scheme {scheme!r}; there is {', '.join(shipped_schemes())}")
    name = f"{scheme}.safetensors" if path is None else str(path)
    return name, *read_checkpoint(name, path)


def _card(name: str, scheme: str, card: Any) -> dict[str, Any]:
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
