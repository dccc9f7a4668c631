"""Checkpoints: there and back, what is wrong with one, and the one that ships."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import torch as safetensors

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.checkpoint import load_card, load_classifier, save_checkpoint, shipped_schemes
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.dataset import build_dataset, header_of
from tvm_fusion.explainers.evaluate_classifier import evaluate_classifier
from tvm_fusion.explainers.features import FEATURES, OPERATOR_TYPES
from tvm_fusion.explainers.group_tensors import GroupTensors


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "made.safetensors"
    save_checkpoint(ValidityClassifier(), path, facts={"seed": 3})
    return path


def change_card(path: Path, **changes: Any) -> None:
    card = path.with_suffix(".json")
    card.write_text(json.dumps({**json.loads(card.read_text()), **changes}))


def change_weights(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    """Other tensors, and a card that agrees with them."""
    state = safetensors.load(path.read_bytes())
    change(state)
    data = safetensors.save(state)
    path.write_bytes(data)
    change_card(path, sha256=hashlib.sha256(data).hexdigest())


def refused(path: Path, words: str, scheme: str = "lbdf") -> None:
    with pytest.raises(ExplainerError, match=words) as caught:
        load_classifier(scheme, path)
    assert "\n" not in str(caught.value)


def test_there_and_back(tmp_path: Path) -> None:
    made = ValidityClassifier()
    made.scale_to(torch.rand(10, 1 + len(FEATURES)))
    path = tmp_path / "made.safetensors"
    card = save_checkpoint(made, path, facts={"seed": 3})
    assert card == load_card(path=path)
    assert card["seed"] == 3
    assert card["types"] == list(OPERATOR_TYPES)
    again = load_classifier(path=path)
    assert not again.training
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in made.state_dict().items())


def test_older_checkpoint_with_fewer_types(tmp_path: Path) -> None:
    path = tmp_path / "made.safetensors"
    save_checkpoint(ValidityClassifier(types=5), path, facts={"types": list(OPERATOR_TYPES[:5])})
    assert load_classifier(path=path).types.num_embeddings == 5


@pytest.mark.parametrize("name", ["made.safetensors", "made.json"])
def test_missing_file(checkpoint: Path, name: str) -> None:
    (checkpoint.parent / name).unlink()
    refused(checkpoint, "cannot read checkpoint")


def test_one_bit_changed(checkpoint: Path) -> None:
    data = bytearray(checkpoint.read_bytes())
    data[-10] ^= 1
    checkpoint.write_bytes(data)
    refused(checkpoint, "damaged")


def test_truncated(checkpoint: Path) -> None:
    checkpoint.write_bytes(checkpoint.read_bytes()[:1000])
    refused(checkpoint, "damaged")


@pytest.mark.parametrize("data", [b"", b"weights", b"\xff" * 100])
def test_no_safetensors(checkpoint: Path, data: bytes) -> None:
    checkpoint.write_bytes(data)
    change_card(checkpoint, sha256=hashlib.sha256(data).hexdigest())
    refused(checkpoint, "not a safetensors file")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": "else"}', "3"])
def test_card_that_is_none(checkpoint: Path, text: str) -> None:
    checkpoint.with_suffix(".json").write_text(text)
    refused(checkpoint, "the card of checkpoint")


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"scheme": "brr"}, "scheme 'brr', not 'lbdf'"),
        ({"version": 2}, "version 2, not 1"),
        ({"hidden": 64}, "hidden 64"),
        ({"features": list(FEATURES[1:])}, "other features"),
        ({"types": ["conv2d"]}, "other operator types"),
        ({"types": [*OPERATOR_TYPES, "warp_drive"]}, "other operator types"),
        ({"types": None}, "other operator types"),
        ({"sha256": None}, "damaged"),
    ],
)
def test_checkpoint_for_something_else(checkpoint: Path, changes: dict[str, Any], words: str) -> None:
    change_card(checkpoint, **changes)
    refused(checkpoint, words)


def test_wrong_shape(checkpoint: Path) -> None:
    change_weights(checkpoint, lambda state: state.update({"head.weight": torch.zeros(1, 64)}))
    refused(checkpoint, r"'head.weight'.*\[1, 64\].*\[1, 128\]")


def test_wrong_dtype(checkpoint: Path) -> None:
    change_weights(checkpoint, lambda state: state.update({"head.weight": torch.zeros(1, 128).double()}))
    refused(checkpoint, "float64")


def test_missing_and_additional_tensor(checkpoint: Path) -> None:
    change_weights(checkpoint, lambda state: state.pop("head.bias") and None)
    refused(checkpoint, "'head.bias'")


def test_values_that_are_not_finite(checkpoint: Path) -> None:
    change_weights(checkpoint, lambda state: state["head.bias"].fill_(float("nan")) and None)
    refused(checkpoint, "not finite")


def test_scheme_without_a_classifier() -> None:
    assert "lbdf" in shipped_schemes()
    with pytest.raises(ExplainerError, match="no classifier ships for scheme 'magic'; there is brr, lbdf"):
        load_classifier("magic")


def test_shipped_files_are_small_and_say_what_they_are() -> None:
    folder = resources.files("tvm_fusion.explainers") / "checkpoints"
    for name in ("lbdf.safetensors", "lbdf.json"):
        assert len((folder / name).read_bytes()) < 2_000_000
    card = load_card("lbdf")
    assert card["command"].startswith("tvm-fusion train-explainer ")
    assert len(card["data"]["networks"]) == 9
    assert card["metrics"]["held_out_groups"]["accuracy"] > 0.95
    assert card["metrics"]["held_out_groups"]["f1"] > 0.95
    assert "/" not in card["environment"]["system"]


def test_shipped_classifier_of_brr_learned_from_networks_without_squeeze_and_excite() -> None:
    card = load_card("brr")
    assert "--scheme brr" in card["command"]
    assert card["data"]["scheme"] == "brr"
    names = {entry["name"] for entry in card["data"]["networks"]}
    apart = set(card["metrics"]["apart"])
    assert not {name for name in names if name.startswith(("efficientnet", "mobilenetv3"))}
    assert names | apart == {entry["name"] for entry in load_card("lbdf")["data"]["networks"]}
    assert card["metrics"]["held_out_groups"]["accuracy"] > 0.95
    assert card["metrics"]["held_out_groups_16_bits"]["accuracy"] > 0.95


def test_shipped_classifier_of_brr_is_right_on_groups_sampled_anew() -> None:
    pytest.importorskip("timm")
    from tvm_fusion.frontends import load_graph

    graphs = [load_graph("resnet18@224")]
    dataset = build_dataset(graphs, header_of(graphs, 20, seed=12345, scheme="brr"))
    for bits in (8, 16):
        scores = evaluate_classifier(load_classifier("brr"), GroupTensors(dataset, bits), np.arange(len(dataset)))
        assert scores.samples > 500
        assert scores.accuracy > 0.95
        assert scores.f1 > 0.85


@pytest.mark.parametrize("net", ["resnet18@224", pytest.param("mobilenetv2_100@224", marks=pytest.mark.slow)])
def test_shipped_classifier_is_right_on_groups_sampled_anew(net: str) -> None:
    pytest.importorskip("timm")
    from tvm_fusion.frontends import load_graph

    graphs = [load_graph(net)]
    dataset = build_dataset(graphs, header_of(graphs, 10, seed=12345))
    scores = evaluate_classifier(load_classifier("lbdf"), GroupTensors(dataset), np.arange(len(dataset)))
    assert scores.samples > 500
    assert scores.accuracy > 0.95
    assert scores.f1 > 0.95
