"""GnnExplainer: which edges must keep their messages for the classifier to say "invalid", optimised for each group."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch.nn.functional import binary_cross_entropy_with_logits
from torch_geometric.explain import Explainer as TorchExplainer
from torch_geometric.explain import GNNExplainer

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.learned import GroupBatch, LearnedExplainer, SubgraphClassifier

EPOCHS = 30
LEARNING_RATE = 0.2
# Weights of the size of the mask and of its entropy. The published ones (0.005 and 1.0) let an explanation grow until
# the classifier is certain; these look for the least that it still calls invalid.
SIZE_WEIGHT = 0.05
ENTROPY_WEIGHT = 0.1
_EPSILON = 1e-15


class GnnExplainer(LearnedExplainer):
    """GNNExplainer (Ying et al., NeurIPS 2019) of torch_geometric, for many groups at once.

    An edge mask is optimised for every group so that the classifier keeps to "invalid" with few edges. The groups of
    a batch are one disjoint graph whose loss is the sum of what each group's loss is alone, so they do not influence
    each other. The score of an edge is the mean mask of its two directions.
    """

    def __init__(self, oracle: Oracle, seed: int = 0, epochs: int = EPOCHS, learning_rate: float = LEARNING_RATE):
        super().__init__(oracle, seed)
        self.epochs = epochs
        self.learning_rate = learning_rate
        self._precise: tuple[ValidityClassifier, ValidityClassifier] | None = None

    def batch_scores(self, batch: GroupBatch) -> list[list[float]]:
        """See :meth:`LearnedExplainer.batch_scores`."""
        model = SubgraphClassifier(self._double())
        explainer = TorchExplainer(
            model=model,
            algorithm=_SeparateGroups(batch, self.epochs, self.learning_rate),
            explanation_type="phenomenon",
            edge_mask_type="object",
            model_config={"mode": "binary_classification", "task_level": "graph", "return_type": "raw"},
        )
        invalid = torch.ones(len(batch.masks), dtype=torch.long)
        explanation = explainer(batch.x.double(), batch.edge_index, target=invalid, batch=batch.batch)
        self.classifier_seconds += model.seconds
        return batch.edge_means(explanation.edge_mask)

    def _double(self) -> ValidityClassifier:
        """The classifier in double precision: a step of Adam makes much of a rounding error of single precision."""
        if self._precise is None or self._precise[0] is not self.classifier:
            self._precise = self.classifier, copy.deepcopy(self.classifier).double()
        return self._precise[1]


class _SeparateGroups(GNNExplainer):  # type: ignore[misc]
    """GNNExplainer whose loss treats each group as if it were alone, and whose masks start even, not at random."""

    def __init__(self, batch: GroupBatch, epochs: int, learning_rate: float) -> None:
        super().__init__(epochs=epochs, lr=learning_rate, edge_size=SIZE_WEIGHT, edge_ent=ENTROPY_WEIGHT)
        self.groups = batch

    def _initialize_masks(self, x: Any, edge_index: Any) -> None:
        self.node_mask = self.hard_node_mask = None
        self.edge_mask = torch.nn.Parameter(torch.zeros(edge_index.shape[1], dtype=x.dtype))
        self.hard_edge_mask = None

    def _loss(self, y_hat: Any, y: Any) -> Any:
        loss = binary_cross_entropy_with_logits(y_hat.view_as(y), y.to(y_hat.dtype), reduction="sum")
        if self.hard_edge_mask is None:
            return loss
        m = self.edge_mask.sigmoid() * self.hard_edge_mask
        entropy = -m * torch.log(m + _EPSILON) - (1 - m) * torch.log(1 - m + _EPSILON)
        share = 1 / (2 * torch.tensor(self.groups.edges, dtype=torch.float32))[self.groups.edge_group]
        return loss + SIZE_WEIGHT * m.sum() + ENTROPY_WEIGHT * (entropy * share).sum()
