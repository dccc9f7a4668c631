"""GroupTensors: a dataset as tensors, from which any selection of groups is one disjoint graph at once."""

from __future__ import annotations

from typing import NamedTuple

import torch

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.dataset import GroupDataset
from tvm_fusion.explainers.features import FACTS, feature_rows, type_number
from tvm_fusion.explainers.sampling import BITS

_ROWS = [k for k, name in enumerate(FACTS) if "row" in name or name in ("input bytes", "output bytes")]
_BYTES = [k for k, name in enumerate(FACTS) if name.endswith("bytes")]
_CHANNELS = [k for k, name in enumerate(FACTS) if "channels" in name]
_WEIGHTS = FACTS.index("weight bytes")


class Groups(NamedTuple):
    """Several groups as one disjoint graph.

    ``facts`` (operators, len(FACTS)); ``edge_index`` (2, 2 * edges), first all producer to consumer, then all
    reversed; ``batch`` (operators,) the position of each operator's group; ``requirement_bytes`` (groups,).
    """

    facts: torch.Tensor
    edge_index: torch.Tensor
    batch: torch.Tensor
    requirement_bytes: torch.Tensor

    def features(self, buffer_bytes: torch.Tensor) -> torch.Tensor:
        """``x`` (operators, 1 + len(FEATURES)) with each group at its own of ``buffer_bytes``, (groups,)."""
        return feature_rows(self.facts, buffer_bytes[self.batch])

    def invalid(self, buffer_bytes: torch.Tensor) -> torch.Tensor:
        """(groups,) whether each group exceeds its own of ``buffer_bytes``, (groups,)."""
        return self.requirement_bytes > buffer_bytes

    def resized(self, width: torch.Tensor, channels: torch.Tensor) -> Groups:
        """The groups as they were with images of other widths and other numbers of channels, factors (groups,).

        Line counts depend on neither, so the requirement stays exact: line buffers grow with both factors, weights
        with the square of ``channels`` (those of depthwise convolutions with ``channels``).
        """
        across, deep = (width * channels)[self.batch, None], channels[self.batch, None]
        facts = self.facts.double()
        weights = facts[:, _WEIGHTS]
        depthwise = facts[:, 0] == type_number("depthwise_conv2d")
        more_weights = weights * torch.where(depthwise, deep[:, 0], deep[:, 0].square())
        line_bytes = self.requirement_bytes - self._sum(weights)
        facts[:, _ROWS] *= across
        facts[:, _CHANNELS] *= deep
        facts[:, _WEIGHTS] = more_weights
        return self._replace(facts=facts, requirement_bytes=line_bytes * width * channels + self._sum(more_weights))

    def rescaled(self, bits: torch.Tensor, channels: torch.Tensor) -> Groups:
        """The groups as they were with other widths of numbers and other numbers of channels, factors (groups,).

        For BRR, whose requirement is bands and the weights of one output channel: both grow with both factors. That is
        exact but for the few weights of one channel of a depthwise convolution, and biases, which do not grow with
        ``channels``.
        """
        wider, deep = bits[self.batch, None], channels[self.batch, None]
        facts = self.facts.double()
        depthwise = facts[:, 0] == type_number("depthwise_conv2d")
        facts[:, _ROWS] *= deep
        facts[:, _CHANNELS] *= deep
        facts[:, _WEIGHTS] *= torch.where(depthwise, deep[:, 0], deep[:, 0].square())
        facts[:, _BYTES] *= wider
        return self._replace(facts=facts, requirement_bytes=self.requirement_bytes * bits * channels)

    def _sum(self, values: torch.Tensor) -> torch.Tensor:
        """Over the operators of each group."""
        return torch.zeros(len(self.requirement_bytes), dtype=torch.float64).index_add_(0, self.batch, values)


class GroupTensors:
    """The groups of ``dataset`` by their positions in it, with numbers of ``bits`` (a multiple of the dataset's)."""

    def __init__(self, dataset: GroupDataset, bits: int = BITS) -> None:
        if bits % BITS or bits < BITS:
            raise ExplainerError(f"{bits} bits are not allowed; a multiple of {BITS} is needed")
        self.scheme = dataset.scheme
        self.facts = torch.from_numpy(dataset.facts).clone()
        self.facts[:, _BYTES] *= bits // BITS
        self.edges = torch.from_numpy(dataset.edges)
        # Whole bytes hold one number each, so everything on chip grows alike.
        self.requirement_bytes = torch.from_numpy(dataset.requirement_bytes) * (bits // BITS)
        self.buffers_bytes = torch.tensor(dataset.buffers_bytes)
        self._operators = torch.from_numpy(dataset.operator_ends).diff(prepend=torch.zeros(1, dtype=torch.long))
        self._edges = torch.from_numpy(dataset.edge_ends).diff(prepend=torch.zeros(1, dtype=torch.long))
        self._first_operator = torch.from_numpy(dataset.operator_ends) - self._operators
        self._first_edge = torch.from_numpy(dataset.edge_ends) - self._edges

    def select(self, groups: torch.Tensor) -> Groups:
        """The groups at the positions ``groups``, (n,)."""
        operators, edges = self._operators[groups], self._edges[groups]
        before = (operators.cumsum(0) - operators).repeat_interleave(edges)
        inner = self.edges[_ranges(self._first_edge[groups], edges)].t() + before
        return Groups(
            facts=self.facts[_ranges(self._first_operator[groups], operators)],
            edge_index=torch.cat([inner, inner.flip(0)], dim=1),
            batch=torch.arange(len(groups)).repeat_interleave(operators),
            requirement_bytes=self.requirement_bytes[groups],
        )


def _ranges(first: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """``first[k], first[k] + 1, ..`` of ``lengths[k]`` numbers for every k, one after another."""
    skipped = first - (lengths.cumsum(0) - lengths)
    return torch.arange(int(lengths.sum())) + skipped.repeat_interleave(lengths)
