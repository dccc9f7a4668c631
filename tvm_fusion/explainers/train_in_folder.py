"""train_in_folder: dataset, classifier and figures in one folder; what is there already is not made again."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.checkpoint import load_card, load_classifier, save_checkpoint
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.dataset import GroupDataset, build_dataset, header_of, load_dataset
from tvm_fusion.explainers.evaluate_classifier import evaluate_classifier
from tvm_fusion.explainers.explainer_checkpoint import explains
from tvm_fusion.explainers.features import OPERATOR_TYPES
from tvm_fusion.explainers.group_parts import GroupParts, network_parts, random_parts
from tvm_fusion.explainers.group_tensors import GroupTensors
from tvm_fusion.explainers.train_classifier import TrainingSettings, train_classifier
from tvm_fusion.explainers.train_explainers import KINDS, train_explainers
from tvm_fusion.files import write_text_atomic
from tvm_fusion.graph.graph import OperatorGraph

# Names of the files of LBDF; of another scheme its name stands before them.
DATASET = "groups.npz"
HELD_OUT = "held_out_networks.json"
APART = "groups_apart.npz"
# Networks that are only measured: plans of each.
APART_PLANS = 20
# A network held out is only measured: its classifier is trained for this part of the epochs.
HELD_OUT_SHARE = 1 / 4

# Called with one line on what is being done.
Report = Callable[[str], None]


def train_in_folder(
    folder: str | Path,
    graphs: Sequence[OperatorGraph],
    plans: int,
    settings: TrainingSettings,
    held_out_networks: bool = False,
    explainers: bool = True,
    about: Mapping[str, Any] | None = None,
    report: Report = print,
    scheme: str = "lbdf",
    apart: Sequence[OperatorGraph] = (),
) -> dict[str, Any]:
    """Sample groups of ``graphs``, train a classifier of ``scheme``, measure it on held-out groups; its card.

    Writes DATASET, SCHEME.safetensors with its card, and, one network after another, HELD_OUT: figures of classifiers
    that never saw a group of that network. ``apart``: networks that nothing is learned from and that the classifier is
    only measured on (APART). With ``explainers`` also trained PGExplainer and RG-Explainer of that classifier
    (SCHEME_pg, SCHEME_rg). Run again with the same arguments it goes on where it was stopped. ``about``
    (command, environment) joins the card. Raises ExplainerError for data too small, FusionError where nothing can
    be written.
    """
    folder = Path(folder)
    about = about or {}
    checkpoint = folder / f"{scheme}.safetensors"
    header = header_of(graphs, plans, settings.seed, command=str(about.get("command", "")), scheme=scheme)
    dataset = _dataset(folder / file_name(DATASET, scheme), graphs, header, report)
    tensors = GroupTensors(dataset)
    seen = sorted({OPERATOR_TYPES[int(number)] for number in set(dataset.facts[:, 0].tolist())})
    facts = {
        "types_seen": seen,
        "data": _data_facts(dataset),
        "training": asdict(settings),
        "threads": torch.get_num_threads(),
        **about,
    }
    card = _trained(checkpoint, dataset, tensors, settings, facts, report)
    if explainers:
        _train_explainers(folder, dataset, settings, {"data": facts["data"], **about}, report)
    if held_out_networks:
        path = folder / file_name(HELD_OUT, scheme)
        card["metrics"]["held_out_networks"] = _held_out(path, dataset, tensors, settings, facts, report)
    if apart:
        header = header_of(apart, APART_PLANS, settings.seed, command=str(about.get("command", "")), scheme=scheme)
        others = _dataset(folder / file_name(APART, scheme), apart, header, report, set(dataset.structure.tolist()))
        card["metrics"]["apart"] = _apart(load_classifier(scheme, checkpoint), others, report)
    if held_out_networks or apart:
        own = {key: card[key] for key in ("metrics", "seconds", *facts)}
        own |= {key: about[key] for key in ("command",) if key in about}
        card = save_checkpoint(load_classifier(scheme, checkpoint), checkpoint, scheme, own)
    return card


def file_name(name: str, scheme: str) -> str:
    """Name of a file of ``scheme``, so that one folder can hold those of several."""
    return name if scheme == "lbdf" else f"{scheme}_{name}"


def _train_explainers(
    folder: Path, dataset: GroupDataset, settings: TrainingSettings, facts: Mapping[str, Any], report: Report
) -> None:
    """The explainers that are trained beforehand, for the classifier of the folder; those that are there stay."""
    scheme = dataset.scheme
    classifier = folder / f"{scheme}.safetensors"
    sha256 = load_card(scheme, classifier)["sha256"]
    missing = [kind for kind in KINDS if not explains(folder / f"{scheme}_{kind}.safetensors", kind, sha256)]
    if not missing:
        report(f"explainers taken from {folder}")
        return

    def progress(kind: str, done: int, epochs: int, value: float) -> None:
        report(f"{kind}explainer: epoch {done} of {epochs}, {value:.4f}")

    train = random_parts(dataset, settings.seed).train
    train_explainers(
        folder, dataset, train, classifier, kinds=missing, seed=settings.seed, facts=facts, progress=progress
    )


def _dataset(
    path: Path,
    graphs: Sequence[OperatorGraph],
    header: Mapping[str, Any],
    report: Report,
    leave_out: Collection[str] = (),
) -> GroupDataset:
    """The dataset of the file where that is the one asked for, else a new one."""
    if path.exists():
        try:
            found = load_dataset(path)
        except ExplainerError as error:
            report(f"sampling groups anew: {error}")
        else:
            if {**found.header, "command": ""} == {**header, "command": ""}:
                report(f"{len(found)} groups taken from {path}")
                return found
    dataset = build_dataset(graphs, header, leave_out)
    dataset.save(path)
    report(f"{len(dataset)} groups sampled")
    return dataset


def _data_facts(dataset: GroupDataset) -> dict[str, Any]:
    """What the card says of the data."""
    kept = ("scheme", "bits", "buffers_bytes", "networks", "plans", "most_in_a_class", "seed")
    groups = [int((dataset.network == k).sum()) for k in range(len(dataset.networks))]
    return {
        **{key: dataset.header[key] for key in kept},
        "groups": len(dataset),
        "samples": len(dataset) * len(dataset.buffers_bytes),
        "groups_of_network": dict(zip(dataset.networks, groups, strict=True)),
        "invalid_share": round(float(dataset.labels().mean()), 5),
    }


def _trained(
    path: Path,
    dataset: GroupDataset,
    tensors: GroupTensors,
    settings: TrainingSettings,
    facts: dict[str, Any],
    report: Report,
) -> dict[str, Any]:
    """The card of the checkpoint at ``path``, trained now unless it is there already."""
    try:
        card = load_card(dataset.scheme, path)
        load_classifier(dataset.scheme, path)
        if all(card.get(key) == facts[key] for key in ("data", "training")):
            report(f"classifier taken from {path}")
            return card
    except ExplainerError:
        pass  # there is none, or none that is whole
    parts = random_parts(dataset, settings.seed)
    scores, classifier, seconds = _figures(tensors, parts, settings, "held-out groups", report)
    metrics = {
        "held_out_groups": scores,
        "validation_groups": evaluate_classifier(classifier, tensors, parts.validation).to_json(),
    }
    if dataset.scheme != "lbdf":  # resized groups of LBDF have numbers of 8 bits, others of 16 too
        metrics["held_out_groups_16_bits"] = evaluate_classifier(
            classifier, GroupTensors(dataset, 16), parts.test
        ).to_json()
    return save_checkpoint(classifier, path, dataset.scheme, {**facts, "seconds": seconds, "metrics": metrics})


def _apart(classifier: ValidityClassifier, others: GroupDataset, report: Report) -> dict[str, Any]:
    """Scores by network of groups that nothing was learned from."""
    tensors = GroupTensors(others)
    found: dict[str, Any] = {}
    for number, name in enumerate(others.networks):
        positions = np.flatnonzero(others.network == number)
        if len(positions):
            found[name] = evaluate_classifier(classifier, tensors, positions).to_json()
            report(f"apart, {name}: accuracy {found[name]['accuracy']:.4f}, F1 {found[name]['f1']:.4f}")
    return found


def _held_out(
    path: Path,
    dataset: GroupDataset,
    tensors: GroupTensors,
    settings: TrainingSettings,
    facts: Mapping[str, Any],
    report: Report,
) -> dict[str, Any]:
    """Scores by network, each written as soon as it is known."""
    shorter = replace(settings, epochs=max(1, round(settings.epochs * HELD_OUT_SHARE)))
    made_from = {"data": facts["data"], "training": asdict(shorter)}
    try:
        known = json.loads(path.read_text("utf-8"))
        scores = dict(known["scores"]) if known["made_from"] == made_from else {}
    except (OSError, ValueError, KeyError, TypeError):
        scores = {}
    for name in dataset.networks:
        if name not in scores:
            parts = network_parts(dataset, name, settings.seed)
            scores[name], _, _ = _figures(tensors, parts, shorter, f"held-out {name}", report)
            text = json.dumps({"made_from": made_from, "scores": scores}, indent=1)
            write_text_atomic(path, text + "\n")
    return {"epochs": shorter.epochs, **{name: scores[name] for name in dataset.networks}}


def _figures(
    tensors: GroupTensors, parts: GroupParts, settings: TrainingSettings, what: str, report: Report
) -> tuple[dict[str, Any], Any, float]:
    """(scores on the test part, classifier, seconds of training)."""
    begin = perf_counter()
    report(f"training on {len(parts.train)} groups, {settings.epochs} epochs")
    every = max(1, settings.epochs // 6)

    def progress(done: int, epochs: int, accuracy: float) -> None:
        if done % every == 0:
            report(f"epoch {done} of {epochs}: best accuracy on validation groups {accuracy:.4f}")

    classifier = train_classifier(tensors, parts, settings, progress)
    seconds = round(perf_counter() - begin, 1)
    scores = evaluate_classifier(classifier, tensors, parts.test).to_json()
    report(f"{what}: accuracy {scores['accuracy']:.4f}, F1 {scores['f1']:.4f} ({seconds:.0f} s)")
    return scores, classifier, seconds
