"""RgPolicy: where RG-Explainer starts in a group, which operator it adds next, and when it stops."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch_geometric.nn import global_add_pool, global_mean_pool
from torch_geometric.utils import scatter, softmax

from tvm_fusion.explainers.classifier import HIDDEN
from tvm_fusion.explainers.learned import Compress

WIDTH = 32
HOPS = 2
TELEPORT = 0.2
MOST_OPERATORS = 24
# Sums over a subgraph are brought to about the size of a mean.
_SUM_SCALE = 8.0


@dataclass(frozen=True, slots=True)
class Growth:
    """Connected subgraphs, one for each group of a batch.

    ``step`` (operators,): when each operator joined, 0 for the seed, -1 for one outside. ``log_probability``
    (groups,) of all choices; ``entropy`` (groups,) mean over the choices; ``seed`` (groups,) operator positions.
    """

    step: Any
    log_probability: Any
    entropy: Any
    seed: Any


class RgPolicy(nn.Module):  # type: ignore[misc]
    """Seed locator, graph generator and stopping criterion on the classifier's embeddings of the whole group.

    Source: Shan et al., Reinforcement Learning Enhanced Explainer for Graph Neural Networks, NeurIPS 2021. The
    generator spreads the embeddings, with marks on the seed and on the operators chosen so far, by personalised
    page rank (APPNP); an operator next to the subgraph is added, or the growth ends, by one softmax over both.
    """

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Sequential(Compress(), nn.Linear(HIDDEN, WIDTH), nn.ReLU())
        self.seeds = nn.Sequential(nn.Linear(2 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.mark = nn.Linear(WIDTH + 2, WIDTH)
        self.grow = nn.Sequential(nn.Linear(3 * WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.stop = nn.Sequential(nn.Linear(2 * WIDTH + 1, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))

    def seed_logits(self, embedded: Any, batch: Any) -> Any:
        """One logit for each operator, (operators,), from the classifier's embeddings (operators, HIDDEN)."""
        base = self.read(embedded)
        return self.seeds(torch.cat([base, global_mean_pool(base, batch)[batch]], dim=1)).squeeze(1)

    def forward(
        self, embedded: Any, edge_index: Any, batch: Any, seeds: Any, generator: torch.Generator | None = None
    ) -> Growth:
        """Grow from ``seeds`` (groups,): by chance with a ``generator``, else always the most probable."""
        base = self.read(embedded)
        groups = len(seeds)
        spread = _Spread(edge_index, len(base))
        # The part of ``mark`` that no choice changes.
        plain = nn.functional.linear(base, self.mark.weight[:, :WIDTH], self.mark.bias)
        step = torch.full((len(base),), -1)
        step[seeds] = 0
        at_seed = (step == 0).float()[:, None]
        log_probability = entropy = torch.zeros(groups)
        choices = torch.zeros(groups)
        growing = torch.ones(groups, dtype=torch.bool)
        for number in range(1, MOST_OPERATORS):
            inside = step >= 0
            near = scatter(inside[edge_index[0]].float(), edge_index[1], dim_size=len(base), reduce="max") > 0
            open_ = torch.nonzero(near & ~inside & growing[batch]).squeeze(1)
            marks = torch.cat([inside.float()[:, None], at_seed], dim=1)
            h = spread((plain + marks @ self.mark.weight[:, WIDTH:].t()).relu())
            logits, owner = self._logits(base, h, batch, inside, open_)
            log_p = softmax(logits, owner, num_nodes=groups).clamp(min=1e-12).log()
            chosen = first_best(log_p, owner, groups, generator)
            log_probability = log_probability + log_p[chosen] * growing
            entropy = entropy - global_add_pool(log_p.exp() * log_p, owner, groups) * growing
            choices = choices + growing
            added = chosen[growing & (chosen < len(open_))]
            growing = growing & (chosen < len(open_))
            if not len(added):
                break
            step[open_[added]] = number
        return Growth(step, log_probability, entropy / choices, seeds)

    def _logits(self, base: Any, h: Any, batch: Any, inside: Any, open_: Any) -> tuple[Any, Any]:
        """Logits of the operators ``open_``, then of stopping in each group; and the group of each."""
        chosen = inside.float()[:, None]
        total = global_add_pool(base * chosen, batch)
        count = global_add_pool(chosen, batch)
        subgraph = torch.cat([total / count, total / _SUM_SCALE], dim=1)
        grow = self.grow(torch.cat([h[open_], subgraph[batch[open_]]], dim=1))
        stop = self.stop(torch.cat([subgraph, count / _SUM_SCALE], dim=1))
        owner = torch.cat([batch[open_], torch.arange(len(count))])
        return torch.cat([grow, stop]).squeeze(1), owner


class _Spread:
    """Personalised page rank by power iteration (APPNP) over fixed edges, self-loops included."""

    def __init__(self, edge_index: Any, operators: int) -> None:
        self.producers, self.consumers = edge_index
        degree = torch.bincount(self.consumers, minlength=operators).float() + 1
        self.weight = (degree[self.producers] * degree[self.consumers]).rsqrt()[:, None]
        self.own = degree.reciprocal()[:, None]

    def __call__(self, start: Any) -> Any:
        h = start
        for _ in range(HOPS):
            near = (h * self.own).index_add(0, self.consumers, h[self.producers] * self.weight)
            h = (1 - TELEPORT) * near + TELEPORT * start
        return h


def first_best(log_p: Any, owner: Any, groups: int, generator: torch.Generator | None) -> Any:
    """Position of one choice for each group, (groups,): drawn by ``log_p``, or the first of the most probable.

    Without a generator near equals count as equal, so that rounding does not decide.
    """
    if generator is None:
        value = (log_p.detach() * 1000).round()
    else:
        uniform = torch.rand(len(log_p), generator=generator).clamp(1e-9, 1 - 1e-7)
        value = log_p.detach() - (-uniform.log()).log()
    best = scatter(value, owner, dim_size=groups, reduce="max")
    place = torch.where(value == best[owner], torch.arange(len(value)), len(value))
    return scatter(place, owner, dim_size=groups, reduce="min")
