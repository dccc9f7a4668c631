"""Saliency: how fast the classifier's "invalid" falls when the messages of an edge are weakened."""

from __future__ import annotations

from time import perf_counter

import torch

from tvm_fusion.explainers.learned import GroupBatch, LearnedExplainer


class Saliency(LearnedExplainer):
    """Gradient of the logit with respect to the weight of every edge, by one backward pass for many groups."""

    def batch_scores(self, batch: GroupBatch) -> list[list[float]]:
        """See :meth:`LearnedExplainer.batch_scores`."""
        weight = torch.ones(batch.edge_index.shape[1], requires_grad=True)
        begin = perf_counter()
        logits = self.classifier(batch.x, batch.edge_index, batch.batch, weight)
        self.classifier_seconds += perf_counter() - begin
        (gradient,) = torch.autograd.grad(logits.sum(), weight)
        return batch.edge_means(gradient)
