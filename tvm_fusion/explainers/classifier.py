"""ValidityClassifier: a graph neural network that predicts whether a group exceeds the buffer."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import nn
from torch_geometric.nn import GraphConv, global_add_pool

from tvm_fusion.explainers.features import FEATURES, OPERATOR_TYPES

LAYERS = 4
HIDDEN = 128
TYPE_WIDTH = 16


class ValidityClassifier(nn.Module):  # type: ignore[misc]
    """Four k-GNN layers, 128 wide, ReLU, sum aggregation; a graph's embedding is the sum of its nodes'.

    Source: arXiv 2501.00636, section on validity prediction. Operator types have a learned embedding; the other
    facts are brought to mean 0 and deviation 1 by ``mean`` and ``deviation``, which are part of a checkpoint.
    """

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, hidden: int = HIDDEN, layers: int = LAYERS, types: int = len(OPERATOR_TYPES)) -> None:
        super().__init__()
        self.types = nn.Embedding(types, TYPE_WIDTH)
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("deviation", torch.ones(len(FEATURES)))
        widths = [TYPE_WIDTH + len(FEATURES), *[hidden] * layers]
        self.layers = nn.ModuleList(GraphConv(a, b, aggr="add") for a, b in pairwise(widths))
        self.head = nn.Linear(hidden, 1)

    def scale_to(self, x: torch.Tensor) -> None:
        """Take ``mean`` and ``deviation`` from the operators ``x``, (operators, 1 + len(FEATURES))."""
        self.mean = x[:, 1:].mean(0)
        self.deviation = x[:, 1:].std(0, correction=0).clamp(min=1e-3)

    def embed(self, x: Any, edge_index: Any, edge_weight: Any = None) -> Any:
        """Node embeddings (operators, hidden); ``edge_weight`` scales the messages of single edges."""
        number = x[:, 0].long()
        # A checkpoint may be older than the newest types.
        number = torch.where(number < self.types.num_embeddings, number, 0)
        h = torch.cat([self.types(number), (x[:, 1:] - self.mean) / self.deviation], dim=1)
        for layer in self.layers:
            h = layer(h, edge_index, edge_weight).relu()
        return h

    def forward(self, x: Any, edge_index: Any, batch: Any = None, edge_weight: Any = None) -> Any:
        """One logit for each graph, (graphs, 1): above 0 means invalid."""
        return self.head(global_add_pool(self.embed(x, edge_index, edge_weight), batch))
