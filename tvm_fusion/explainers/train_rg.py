"""train_rg: teach RG-Explainer's policy, by policy gradient, to grow the least that is still invalid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import cosine_similarity, logsigmoid
from torch_geometric.nn import global_add_pool, global_mean_pool
from torch_geometric.utils import scatter, softmax

from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.dataset import GroupDataset
from tvm_fusion.explainers.invalid_groups import ExplainerProgress, InvalidGroups, Samples, check_epochs
from tvm_fusion.explainers.rg_explainer import subgraph_logits
from tvm_fusion.explainers.rg_policy import Growth, RgPolicy, first_best

EPOCHS = 10
BATCH_GROUPS = 32
LEARNING_RATE = 2e-3
# Subgraphs of each group that are compared with one another.
ROLLOUTS = 4
# Weights of the penalties: an operator, a step of distance from the seed, embeddings unlike the seed's.
SIZE_WEIGHT = 0.2
RADIUS_WEIGHT = 0.02
SIMILARITY_WEIGHT = 0.1
ENTROPY_WEIGHT = 0.02
_LEAST_LOG_PROBABILITY = -5.0


def train_rg(
    dataset: GroupDataset,
    positions: NDArray[np.int64],
    classifier: ValidityClassifier,
    epochs: int = EPOCHS,
    seed: int = 0,
    progress: ExplainerProgress | None = None,
) -> RgPolicy:
    """The policy after ``epochs`` of REINFORCE over the invalid ones of the groups at ``positions`` in
    ``dataset``.

    The reward of a subgraph is the log-probability of "invalid" that the classifier gives it, less penalties for
    its size, its radius and operators unlike its seed; what counts is how much better it is than the other
    subgraphs of the same group. The same seed, number of threads and version of torch give the same weights;
    torch's own random state is left alone. Raises ExplainerError as ``train_pg`` does.
    """
    check_epochs(epochs)
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        policy = RgPolicy()
    classifier = classifier.eval().requires_grad_(False)
    optimizer = torch.optim.Adam(policy.parameters(), lr=LEARNING_RATE)
    invalid = InvalidGroups(dataset, positions, generator)
    for epoch in range(epochs):
        rewards = []
        for samples in invalid.batches(BATCH_GROUPS, generator):
            loss, reward = _loss(policy, classifier, samples, generator)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(policy.parameters(), 1.0)
            optimizer.step()
            rewards.append(reward)
        if progress is not None:
            progress(epoch + 1, epochs, sum(rewards) / len(rewards))
    policy.eval()
    return policy


def _loss(
    policy: RgPolicy, classifier: ValidityClassifier, samples: Samples, generator: torch.Generator
) -> tuple[Any, float]:
    """REINFORCE over ROLLOUTS copies of every group, each against the mean of the others; and the mean reward."""
    operators, groups = len(samples.x), samples.groups
    shift = torch.arange(ROLLOUTS)
    x = samples.x.repeat(ROLLOUTS, 1)
    edge_index = (samples.edge_index[:, None] + (shift * operators)[None, :, None]).reshape(2, -1)
    batch = (samples.batch[None] + (shift * groups)[:, None]).reshape(-1)
    with torch.no_grad():
        embedded = classifier.embed(x, edge_index)
    log_p = softmax(policy.seed_logits(embedded, batch), batch).clamp(min=1e-12).log()
    seeds = first_best(log_p, batch, ROLLOUTS * groups, generator)
    growth = policy(embedded, edge_index, batch, seeds, generator)
    with torch.no_grad():
        reward = _reward(classifier, growth, x, edge_index, batch, embedded).reshape(ROLLOUTS, groups)
        advantage = (reward - reward.mean(0)) * ROLLOUTS / (ROLLOUTS - 1)
        advantage = (advantage / (advantage.std() + 1e-6)).reshape(-1)
    entropy = growth.entropy - global_add_pool(log_p.exp() * log_p, batch)
    loss = -(advantage * (growth.log_probability + log_p[seeds])).mean() - ENTROPY_WEIGHT * entropy.mean()
    return loss, float(reward.mean())


def _reward(classifier: ValidityClassifier, growth: Growth, x: Any, edge_index: Any, batch: Any, embedded: Any) -> Any:
    """(groups,): how well each subgraph keeps "invalid", less the penalties."""
    inside = (growth.step >= 0).float()
    logits = subgraph_logits(classifier, x, edge_index, batch, growth.step >= 0)
    size = global_add_pool(inside, batch)
    radius = scatter(_distances(growth, edge_index), batch, reduce="max")
    unlike = (1 - cosine_similarity(embedded, embedded[growth.seed][batch])) * inside
    return (
        logsigmoid(logits).clamp(min=_LEAST_LOG_PROBABILITY)
        - SIZE_WEIGHT * size
        - RADIUS_WEIGHT * radius
        - SIMILARITY_WEIGHT * global_mean_pool(unlike, batch) * global_mean_pool(inside, batch).reciprocal()
    )


def _distances(growth: Growth, edge_index: Any) -> Any:
    """(operators,): edges from the seed inside the subgraph; 0 outside it."""
    inside = growth.step >= 0
    edges = edge_index[:, inside[edge_index[0]] & inside[edge_index[1]]]
    distance = torch.where(growth.step == 0, 0.0, float(len(inside)))
    for _ in range(int(growth.step.max())):
        nearer = scatter(distance[edges[0]] + 1, edges[1], dim_size=len(inside), reduce="min")
        touched = scatter(torch.ones(edges.shape[1]), edges[1], dim_size=len(inside), reduce="max") > 0
        distance = torch.where(touched, torch.minimum(distance, nearer), distance)
    return distance * inside
