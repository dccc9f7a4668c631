"""LearnedExplainer: what the explainers that ask the validity classifier have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch_geometric.nn import MessagePassing, global_add_pool

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.base import Edge, Explainer, inner_edges
from tvm_fusion.explainers.checkpoint import load_classifier, shipped_schemes, types_seen
from tvm_fusion.explainers.classifier import ValidityClassifier
from tvm_fusion.explainers.classifier_scheme import classifier_scheme, mixed_note
from tvm_fusion.explainers.features import GroupFeatures
from tvm_fusion.explainers.threads import one_thread
from tvm_fusion.graph.graph import members

# Edges (both directions) of the groups that go through the network together: enough to be quick, small enough for
# the processor's caches.
BATCH_EDGES = 4096


@dataclass(frozen=True, slots=True)
class GroupBatch:
    """Groups as one disjoint graph. The first half of the edges are all inner edges, the second half their reverses.

    ``x`` (operators, facts), ``edge_index`` (2, 2 * edges), ``batch`` (operators): number of the group of each
    operator; ``edge_group`` (2 * edges): of each edge; ``edges``, ``operators``: how many each group has.
    """

    masks: tuple[int, ...]
    x: Any
    edge_index: Any
    batch: Any
    edge_group: Any
    edges: tuple[int, ...]
    operators: tuple[int, ...]

    def edge_means(self, directed: Any) -> list[list[float]]:
        """From one number for each directed edge to one list for each group, the mean of the two directions."""
        both = directed.detach().reshape(2, -1).mean(0)
        return [part.tolist() for part in both.split(list(self.edges))]


class LearnedExplainer(Explainer):
    """Asks the shipped classifier of ``scheme``, loaded when the first group is explained.

    ``scheme`` is one that the oracle's groups may execute in: see
    :func:`tvm_fusion.explainers.classifier_scheme.classifier_scheme`. Raises ExplainerError if none has a classifier.
    """

    def __init__(self, oracle: Oracle, seed: int = 0) -> None:
        super().__init__(oracle, seed)
        self.features = GroupFeatures(oracle.sizes)
        self._classifier: ValidityClassifier | None = None
        types = {operator.type for operator in self.graph.operators}
        self.scheme = classifier_scheme(oracle.schemes, types, {name: types_seen(name) for name in shipped_schemes()})

    @property
    def remark(self) -> str:
        """See :attr:`Explainer.remark`."""
        return mixed_note(self.scheme, self.oracle.schemes)

    @property
    def classifier(self) -> ValidityClassifier:
        """The classifier whose predictions are explained, in evaluation mode, without gradients of its weights."""
        if self._classifier is None:
            # To make a network draws its first weights, which are replaced at once, from the random state of the user.
            with torch.random.fork_rng(devices=[]):
                self.classifier = load_classifier(self.scheme)
        assert self._classifier is not None
        return self._classifier

    @classifier.setter
    def classifier(self, classifier: ValidityClassifier) -> None:
        self._classifier = classifier.eval().requires_grad_(False)

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        """See :meth:`Explainer.scores`. A group without inner edges has no scores."""
        found: dict[int, Sequence[float]] = {mask: [] for mask in masks}
        with one_thread():
            for batch in self._batches([mask for mask in found if mask & (mask - 1)]):
                found.update(zip(batch.masks, self.batch_scores(batch), strict=True))
        return [found[mask] for mask in masks]

    def unknown_types(self, mask: int) -> set[str]:
        """Types in the group of which the shipped classifier saw no operator: it knows them by shape alone."""
        return {self.graph.operators[i].type for i in members(mask)} - types_seen(self.scheme)

    @abstractmethod
    def batch_scores(self, batch: GroupBatch) -> list[list[float]]:
        """:meth:`scores` of the groups of one batch; each has an inner edge."""

    def invalid(self, masks: Sequence[int], edges: Sequence[Sequence[Edge]]) -> list[bool]:
        """Whether the classifier calls each group invalid of which only the given edges, and their ends, are left."""
        batch = collate(self.features, masks, self.oracle.accelerator.buffer_bytes)
        kept = [
            edge in chosen
            for mask, chosen in zip(masks, map(set, edges), strict=True)
            for edge in inner_edges(self.graph, mask)
        ]
        model = SubgraphClassifier(self.classifier)
        with one_thread(), torch.no_grad():
            weight = torch.tensor(kept, dtype=torch.float32).repeat(2)
            logits = model(batch.x, batch.edge_index, batch.batch, weight)
        found: list[bool] = (logits.view(-1) > 0).tolist()
        return found

    def _batches(self, masks: Sequence[int]) -> Iterator[GroupBatch]:
        chosen: list[int] = []
        edges = 0
        for mask in masks:
            chosen.append(mask)
            edges += 2 * len(inner_edges(self.graph, mask))
            if edges >= BATCH_EDGES:
                yield collate(self.features, chosen, self.oracle.accelerator.buffer_bytes)
                chosen, edges = [], 0
        if chosen:
            yield collate(self.features, chosen, self.oracle.accelerator.buffer_bytes)


class SubgraphClassifier(nn.Module):  # type: ignore[misc]
    """The classifier of the subgraph that an edge mask leaves: an operator counts as much as its strongest edge.

    The classifier alone would add up all operators, also those that no kept edge touches, so that an edge mask could
    not say which operators the answer needs. torch_geometric sets its masks on the message passing layers, of which
    this is one more. ``seconds`` adds up the time of the forward passes.
    """

    def __init__(self, classifier: ValidityClassifier) -> None:
        super().__init__()
        self.presence = _Presence(aggr="max")
        self.classifier = classifier
        self.seconds = 0.0

    def forward(self, x: Any, edge_index: Any, batch: Any, edge_weight: Any = None) -> Any:
        """A number above 0 for each graph that is predicted to be invalid, (graphs, 1).

        The inverse hyperbolic sine of the logit, which reaches thousands for masks that no real group resembles: such
        a loss would drown all others.
        """
        begin = perf_counter()
        presence = self.presence(edge_index, len(x), edge_weight)
        embedded = self.classifier.embed(x, edge_index, edge_weight)
        found = torch.asinh(self.classifier.head(global_add_pool(embedded * presence, batch)))
        self.seconds += perf_counter() - begin
        return found


class Compress(nn.Module):  # type: ignore[misc]
    """Inverse hyperbolic sine: brings sums over many operators to the size of single numbers, sign and order kept."""

    def forward(self, x: Any) -> Any:
        """Elementwise."""
        return torch.asinh(x)


class _Presence(MessagePassing):  # type: ignore[misc]
    """The largest weight (or mask) among the edges of each operator, (operators, 1)."""

    def forward(self, edge_index: Any, operators: int, edge_weight: Any = None) -> Any:
        """``edge_weight`` (edges) or None, which stands for 1."""
        return self.propagate(edge_index, x=torch.ones(operators, 1), edge_weight=edge_weight)

    def message(self, x_j: Any, edge_weight: Any) -> Any:
        """One edge's weight."""
        return x_j if edge_weight is None else edge_weight.view(-1, 1) * x_j


def collate(features: GroupFeatures, masks: Sequence[int], buffer_bytes: int) -> GroupBatch:
    """The groups as one disjoint graph."""
    data = features.batch(masks, buffer_bytes)
    operators = tuple(int(item.num_nodes) for item in data)
    edges = tuple(item.edge_index.shape[1] // 2 for item in data)
    starts = torch.tensor([0, *operators[:-1]]).cumsum(0)
    halves = [
        torch.cat([item.edge_index[:, k * n : (k + 1) * n] for item, n in zip(data, edges, strict=True)], dim=1)
        for k in (0, 1)
    ]
    numbers = torch.arange(len(masks))
    edge_group = numbers.repeat_interleave(torch.tensor(edges)).repeat(2)
    return GroupBatch(
        masks=tuple(masks),
        x=torch.cat([item.x for item in data]),
        edge_index=torch.cat(halves, dim=1) + starts[edge_group],
        batch=numbers.repeat_interleave(torch.tensor(operators)),
        edge_group=edge_group,
        edges=edges,
        operators=operators,
    )
