"""Groups as tensors: what the validity classifier is told of every operator, and which edges it sees.

The facts are those of the method (operator type, input and output shapes, weight size, buffer size); sizes stand
as logarithms, and as bytes relative to the buffer, because the requirement is a sum of bytes.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch_geometric.data import Data

from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.graph.graph import members

# Position in this list = number of the type in a checkpoint; 0 is every type that is not in it. Only ever append.
OPERATOR_TYPES = (
    "unknown", "conv2d", "depthwise_conv2d", "conv1d", "dense", "matmul", "relu", "relu6", "silu", "hard_swish",
    "hard_sigmoid", "sigmoid", "gelu", "tanh", "add", "multiply", "subtract", "divide", "max_pool2d", "avg_pool2d",
    "global_avg_pool2d", "adaptive_avg_pool2d", "concat", "slice", "reshape", "permute", "flatten", "softmax",
    "layer_norm", "batch_norm", "pad", "resize2d", "activation", "reduce_mean", "split", "conv2d_transpose",
)  # fmt: skip
_TYPE_NUMBER = {name: number for number, name in enumerate(OPERATOR_TYPES)}
# Whole numbers of an operator that do not depend on the buffer.
FACTS = (
    "type number",
    "input row elements", "input height", "input channels",
    "output row elements", "output height", "output channels",
    "weight bytes", "input row bytes", "output row bytes", "input bytes", "output bytes",
)  # fmt: skip
# Numbers of an operator beside its type.
FEATURES = (
    "log2 input row elements", "log2 input height", "log2 input channels",
    "log2 output row elements", "log2 output height", "log2 output channels",
    "log2 weight bytes", "log2 buffer bytes",
    "weight bytes / buffer", "input row bytes / buffer", "output row bytes / buffer",
    "input bytes / buffer", "output bytes / buffer",
)  # fmt: skip
_MOST = 4.0  # of a buffer: what is larger is as invalid


def type_number(name: str) -> int:
    """Number of an operator type; 0 for one that the classifier never saw."""
    return _TYPE_NUMBER.get(name, 0)


def feature_rows(facts: torch.Tensor, buffer_bytes: torch.Tensor | int) -> torch.Tensor:
    """Rows of ``x``, (operators, 1 + len(FEATURES)) float32, from rows of FACTS, (operators, len(FACTS)) int64.

    ``buffer_bytes`` is one size for all, or one for each operator, (operators,).
    """
    buffer = torch.as_tensor(buffer_bytes, dtype=torch.float64).reshape(-1, 1).expand(len(facts), 1)
    values = facts.double()
    shapes, weights, sizes = values[:, 1:7], values[:, 7:8], values[:, 7:]
    logs = torch.cat([shapes, weights + 1, buffer], dim=1).clamp(min=1).log2() / 10
    shares = (sizes / buffer).clamp(max=_MOST)
    return torch.cat([values[:, :1], logs, shares], dim=1).float()


class GroupFeatures:
    """Tensors of the groups of one graph; ``sizes`` gives the bytes, a group is asked with a buffer size."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.graph = sizes.graph
        self._facts = [self._facts_of(i) for i in range(len(self.graph))]
        self._tables: dict[int, torch.Tensor] = {}

    def data(self, mask: int, buffer_bytes: int) -> Data:
        """``x`` (operators, 1 + len(FEATURES)) with the type number first; ``edge_index`` (2, 2 * edges).

        Nodes are the operators ascending. The first half of the edges are the group's inner edges, producer to
        consumer, in the order of :func:`inner_edges`; the second half are the same ones reversed.
        """
        edges = self.edges(mask)
        both = torch.tensor([*edges, *((b, a) for a, b in edges)], dtype=torch.long).reshape(-1, 2)
        x = self._table(buffer_bytes)[list(members(mask))]
        return Data(x=x, edge_index=both.t().contiguous(), num_nodes=len(x))

    def batch(self, masks: Sequence[int], buffer_bytes: int) -> list[Data]:
        """:meth:`data` of several groups."""
        return [self.data(mask, buffer_bytes) for mask in masks]

    def facts(self, mask: int) -> list[list[int]]:
        """FACTS of every operator of a group, ascending."""
        return [self._facts[i] for i in members(mask)]

    def edges(self, mask: int) -> list[tuple[int, int]]:
        """The :func:`inner_edges` of a group as positions among its operators, ascending."""
        place = {i: k for k, i in enumerate(members(mask))}
        return [(place[a], place[b]) for a, b in inner_edges(self.graph, mask)]

    def _table(self, buffer_bytes: int) -> torch.Tensor:
        """``x`` of every operator of the graph."""
        found = self._tables.get(buffer_bytes)
        if found is None:
            facts = torch.tensor(self._facts, dtype=torch.long).reshape(-1, len(FACTS))
            found = self._tables[buffer_bytes] = feature_rows(facts, buffer_bytes)
        return found

    def _facts_of(self, i: int) -> list[int]:
        graph, sizes = self.graph, self.sizes
        operator = graph.operators[i]
        # Of several operands the one of the widest rows: it decides what has to be held.
        widest = max(operator.inputs, key=lambda t: (sizes.line_bytes(t, 1), graph.tensor(t).height), default=i)
        shapes = []
        for tensor in (graph.tensor(widest), operator):
            channels = tensor.shape[1] if len(tensor.shape) > 1 else 1
            shapes += [tensor.row_elements, tensor.height, channels]
        return [
            type_number(operator.type),
            *shapes,
            sizes.weight_bytes[i],
            sizes.line_bytes(widest, 1),
            sizes.line_bytes(i, 1),
            sizes.image_bytes[widest],
            sizes.image_bytes[i],
        ]
