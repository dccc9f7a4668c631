"""train_pg: fit the network of PGExplainer to invalid groups of the classifier's dataset."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from numpy.typing import NDArray

from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.dataset import GroupDataset
from tvm_fusion.explainers.invalid_groups import ExplainerProgress, InvalidGroups, check_epochs
from tvm_fusion.explainers.learned import SubgraphClassifier
from tvm_fusion.explainers.pg_explainer import EPOCHS, SeparateGroupsPg, torch_explainer

BATCH_GROUPS = 64


def train_pg(
    dataset: GroupDataset,
    positions: NDArray[np.int64],
    classifier: ValidityClassifier,
    epochs: int = EPOCHS,
    seed: int = 0,
    progress: ExplainerProgress | None = None,
) -> SeparateGroupsPg:
    """PGExplainer's network after ``epochs`` over the invalid ones of the groups at ``positions`` in ``dataset``.

    In an epoch every group comes once, at a random one of the buffer sizes that it exceeds. The same seed, number
    of threads and version of torch give the same weights; torch's own random state is left alone. Raises
    ExplainerError if no group with two operators is invalid, or for less than one epoch.
    """
    check_epochs(epochs)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch_geometric makes a number of a loss that has a gradient
        torch.manual_seed(seed)
        model = SubgraphClassifier(classifier.eval().requires_grad_(False))
        algorithm = SeparateGroupsPg(epochs)
        torch_explainer(model, algorithm)
        invalid = InvalidGroups(dataset, positions, generator)
        for epoch in range(epochs):
            losses = [
                algorithm.train(epoch, model, s.x, s.edge_index, target=torch.ones(s.groups).long(), batch=s.batch)
                for s in invalid.batches(BATCH_GROUPS, generator)
            ]
            if progress is not None:
                progress(epoch + 1, epochs, sum(losses) / len(losses))
    algorithm.trained()
    return algorithm
