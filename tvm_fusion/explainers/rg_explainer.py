"""RgExplainer: connected subgraphs that the classifier still calls invalid, grown by a policy trained beforehand."""

from __future__ import annotations

import hashlib
from time import perf_counter
from typing import Any

import torch
from torch_geometric.nn import global_add_pool
from torch_geometric.utils import scatter

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.learned import GroupBatch, LearnedExplainer
from tvm_fusion.explainers.rg_policy import Growth, RgPolicy, first_best

# Subgraphs that are grown in every group, from seeds more than this many edges apart as long as there are any.
SEEDS = 6
APART = 2


class RgExplainer(LearnedExplainer):
    """RG-Explainer (Shan et al., NeurIPS 2021), our own implementation, with weights trained by ``train_rg``.

    From several seeds, drawn by the seed locator, the generator grows the subgraphs that it finds most probable.
    A subgraph gives each of its edges the classifier's probability that it is invalid, less the larger it is and the
    later the edge joined; one of a single operator, which no cut divides, gives half of that to the edges around it.
    The score of an edge is the mean over the subgraphs.
    """

    def __init__(self, oracle: Oracle, seed: int = 0, seeds: int = SEEDS) -> None:
        super().__init__(oracle, seed)
        self.seeds = seeds
        self._policy: RgPolicy | None = None

    @property
    def policy(self) -> RgPolicy:
        """The trained policy; the shipped one unless another was set."""
        if self._policy is None:
            from tvm_fusion.explainers.explainer_checkpoint import load_explainer

            with torch.random.fork_rng(devices=[]):
                policy = RgPolicy()
            load_explainer(policy, "rg", self.scheme)
            self.policy = policy
        assert self._policy is not None
        return self._policy

    @policy.setter
    def policy(self, policy: RgPolicy) -> None:
        self._policy = policy.eval().requires_grad_(False)

    def batch_scores(self, batch: GroupBatch) -> list[list[float]]:
        """See :meth:`LearnedExplainer.batch_scores`."""
        with torch.no_grad():
            begin = perf_counter()
            embedded = self.classifier.embed(batch.x, batch.edge_index)
            self.classifier_seconds += perf_counter() - begin
            # All subgraphs of all groups grow at once, each in its own copy of its group.
            copies, operators, groups = self.seeds, len(batch.x), len(batch.masks)
            shift = torch.arange(copies)
            edge_index = (batch.edge_index[:, None] + (shift * operators)[None, :, None]).reshape(2, -1)
            many = (batch.batch[None] + (shift * groups)[:, None]).reshape(-1)
            seeds = self._seeds(batch, embedded)
            growth = self.policy(embedded.repeat(copies, 1), edge_index, many, seeds)
            begin = perf_counter()
            logits = subgraph_logits(self.classifier, batch.x.repeat(copies, 1), edge_index, many, growth.step >= 0)
            self.classifier_seconds += perf_counter() - begin
            return batch.edge_means(_edge_scores(growth, edge_index, many, logits).reshape(copies, -1).mean(0))

    def _seeds(self, batch: GroupBatch, embedded: Any) -> Any:
        """Seeds of all copies, far from one another; none comes again before all others of its group."""
        log_p = self.policy.seed_logits(embedded, batch.batch)
        noise = torch.cat([
            torch.rand(operators, generator=torch.Generator().manual_seed(group_seed(self.seed, mask)))
            for mask, operators in zip(batch.masks, batch.operators, strict=True)
        ]).clamp(1e-9, 1 - 1e-7)  # fmt: skip
        value = log_p - (-noise.log()).log()
        found = []
        for copy in range(self.seeds):
            chosen = first_best(value, batch.batch, len(batch.masks), None)
            found.append(chosen + copy * len(batch.x))
            near = torch.zeros(len(value)).index_fill(0, chosen, 1.0)
            for _ in range(APART):
                beside = scatter(near[batch.edge_index[0]], batch.edge_index[1], dim_size=len(near), reduce="max")
                near = torch.maximum(near, beside)
            value = value - 100 * near
            value[chosen] -= 10_000
        return torch.cat(found)


def subgraph_logits(classifier: Any, x: Any, edge_index: Any, batch: Any, inside: Any) -> Any:
    """Inverse hyperbolic sine of the classifier's logit, (groups,), for the operators ``inside`` of every group."""
    kept = inside[edge_index[0]] & inside[edge_index[1]]
    embedded = classifier.embed(x, edge_index[:, kept])
    return torch.asinh(classifier.head(global_add_pool(embedded * inside[:, None], batch)).squeeze(1))


def _edge_scores(growth: Growth, edge_index: Any, batch: Any, logits: Any) -> Any:
    """(edges,): what each edge gets from the subgraph of its copy."""
    ends = growth.step[edge_index]
    first, last = ends.min(0).values, ends.max(0).values
    group = batch[edge_index[0]]
    size = global_add_pool((growth.step >= 0).float(), batch)[group]
    inside = torch.where(first >= 0, (1 - last / (2 * size)) / size.sqrt(), 0.0)
    around = torch.where((last >= 0) & (size == 1), 0.5, 0.0)
    return logits.sigmoid()[group] * (inside + around)


def group_seed(seed: int, mask: int) -> int:
    """A seed for what is random about one group: the same on every machine, whatever else is explained."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{mask:x}".encode()).digest()[:7], "little")
