"""train_explainers: everything that ``tvm-fusion train-explainer`` does after the classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from tvm_fusion.explainers import pg_explainer, train_rg
from tvm_fusion.explainers.checkpoint import load_card, load_classifier
from tvm_fusion.explainers.dataset import GroupDataset
from tvm_fusion.explainers.explainer_checkpoint import save_explainer
from tvm_fusion.explainers.train_pg import train_pg

KINDS = ("pg", "rg")
# Called with ("pg" or "rg", epochs done, epochs, mean loss or reward of the epoch).
Progress = Callable[[str, int, int, float], None]


def train_explainers(
    output: str | Path,
    dataset: GroupDataset,
    positions: NDArray[np.int64],
    classifier: str | Path | None = None,
    kinds: Sequence[str] = KINDS,
    pg_epochs: int = pg_explainer.EPOCHS,
    rg_epochs: int = train_rg.EPOCHS,
    seed: int = 0,
    facts: Mapping[str, Any] | None = None,
    progress: Progress | None = None,
) -> dict[str, dict[str, Any]]:
    """Train PGExplainer and RG-Explainer (``kinds``); write SCHEME_pg and SCHEME_rg (.safetensors, .json)
    to ``output``, the scheme being that of the dataset.

    They learn from the invalid ones of the groups at ``positions`` in ``dataset`` (those that the classifier learned
    from) and explain the ``classifier`` at that path (.safetensors; default: the shipped one). ``facts`` join the
    cards, which are returned by kind. Raises ExplainerError if nothing can be learned, FusionError if a file cannot
    be written.
    """
    scheme = dataset.scheme
    model, sha256 = load_classifier(scheme, classifier), load_card(scheme, classifier)["sha256"]
    last = {"pg": 0.0, "rg": 0.0}

    def note(kind: str) -> Callable[[int, int, float], None]:
        def of_epoch(done: int, epochs: int, value: float) -> None:
            last[kind] = value
            if progress is not None:
                progress(kind, done, epochs, value)

        return of_epoch

    makers: dict[str, tuple[Callable[[], nn.Module], int, str]] = {
        "pg": (lambda: train_pg(dataset, positions, model, pg_epochs, seed, note("pg")).mlp, pg_epochs, "last_loss"),
        "rg": (
            lambda: train_rg.train_rg(dataset, positions, model, rg_epochs, seed, note("rg")),
            rg_epochs,
            "last_reward",
        ),
    }
    cards = {}
    for kind in kinds:
        make, epochs, name = makers[kind]
        module = make()
        own = {"epochs": epochs, "seed": seed, name: round(last[kind], 5), **(facts or {})}
        cards[kind] = save_explainer(module, Path(output) / f"{scheme}_{kind}.safetensors", kind, sha256, own)
    return cards
