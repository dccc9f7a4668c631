"""PgExplainer: a small network, trained beforehand, that reads an edge's importance off the classifier's embeddings."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch_geometric.explain import Explainer as TorchExplainer
from torch_geometric.explain import PGExplainer

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.classifier import HIDDEN
from tvm_fusion.explainers.learned import Compress, GroupBatch, LearnedExplainer, SubgraphClassifier

EPOCHS = 25
LEARNING_RATE = 0.003
WIDTH = 64
# Weights of the size of a group's mask and of its entropy. With a larger size the empty mask is the cheapest.
SIZE_WEIGHT = 0.03
ENTROPY_WEIGHT = 0.1
FULL = 3.0
MODEL_CONFIG = {"mode": "binary_classification", "task_level": "graph", "return_type": "raw"}


class PgExplainer(LearnedExplainer):
    """PGExplainer (Luo et al., NeurIPS 2020) of torch_geometric with weights trained by ``train_pg``.

    One pass for all groups. The score of an edge is the mean mask of its two directions.
    """

    def __init__(self, oracle: Oracle, seed: int = 0) -> None:
        super().__init__(oracle, seed)
        self._algorithm: SeparateGroupsPg | None = None

    @property
    def algorithm(self) -> SeparateGroupsPg:
        """The trained algorithm; the shipped one unless another was set."""
        if self._algorithm is None:
            from tvm_fusion.explainers.explainer_checkpoint import load_explainer

            with torch.random.fork_rng(devices=[]):
                algorithm = SeparateGroupsPg()
            load_explainer(algorithm.mlp, "pg", self.scheme)
            self.algorithm = algorithm
        assert self._algorithm is not None
        return self._algorithm

    @algorithm.setter
    def algorithm(self, algorithm: SeparateGroupsPg) -> None:
        algorithm.trained()
        self._algorithm = algorithm

    def batch_scores(self, batch: GroupBatch) -> list[list[float]]:
        """See :meth:`LearnedExplainer.batch_scores`."""
        model = SubgraphClassifier(self.classifier)
        explainer = torch_explainer(model, self.algorithm)
        invalid = torch.ones(len(batch.masks), dtype=torch.long)
        with torch.no_grad():
            explanation = explainer(batch.x, batch.edge_index, target=invalid, batch=batch.batch)
        self.classifier_seconds += model.seconds
        return batch.edge_means(explanation.edge_mask)


class SeparateGroupsPg(PGExplainer):  # type: ignore[misc]
    """PGExplainer whose loss is the mean over the groups of a batch, so that its weights mean the same at any size."""

    def __init__(self, epochs: int = EPOCHS, learning_rate: float = LEARNING_RATE) -> None:
        super().__init__(epochs=epochs, lr=learning_rate)
        self.coeffs = {**PGExplainer.coeffs, "edge_size": SIZE_WEIGHT, "edge_ent": ENTROPY_WEIGHT}
        # Made here and now, not at the first batch, so that a checkpoint can be loaded.
        self.mlp = nn.Sequential(Compress(), nn.Linear(2 * HIDDEN, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        # A mask starts nearly full; half open everywhere, the classifier's sums are of no group that exists.
        nn.init.constant_(self.mlp[-1].bias, FULL)
        self.optimizer = torch.optim.Adam(self.mlp.parameters(), lr=learning_rate)

    def trained(self) -> None:
        """Answer from now on: the weights are those of a finished training."""
        self._curr_epoch = self.epochs - 1
        self.mlp.requires_grad_(False)

    def _post_process_mask(self, mask: Any, *_: Any, **__: Any) -> Any:
        """The mask at the temperature that training starts with: at the last one, sure edges would all count 1."""
        return (mask.detach() / self.coeffs["temp"][0]).sigmoid()

    def _loss(self, y_hat: Any, y: Any, edge_mask: Any) -> Any:
        loss = self._loss_binary_classification(y_hat, y)
        m = 0.99 * edge_mask.sigmoid() + 0.005
        entropy = -m * m.log() - (1 - m) * (1 - m).log()
        return loss + self.coeffs["edge_size"] * m.sum() / len(y) + self.coeffs["edge_ent"] * entropy.mean()


def torch_explainer(model: SubgraphClassifier, algorithm: SeparateGroupsPg) -> TorchExplainer:
    """torch_geometric's explainer of the phenomenon "invalid" by edge masks."""
    return TorchExplainer(
        model=model,
        algorithm=algorithm,
        explanation_type="phenomenon",
        edge_mask_type="object",
        model_config=MODEL_CONFIG,
    )
