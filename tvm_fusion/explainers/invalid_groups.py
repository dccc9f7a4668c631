"""InvalidGroups: the groups of a dataset that exceed a buffer, as batches to train an explainer on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.dataset import GroupDataset
from tvm_fusion.explainers.group_tensors import GroupTensors

# Groups that an epoch sees; more bring nothing.
MOST_GROUPS = 2500

# Called with (epochs done, epochs, mean loss or reward of the epoch).
ExplainerProgress = Callable[[int, int, float], None]


class Samples(NamedTuple):
    """Several groups as one disjoint graph, each at a buffer size that it exceeds.

    ``x`` (operators, 1 + len(FEATURES)); ``edge_index`` (2, 2 * edges), first all producer to consumer, then all
    reversed; ``batch`` (operators,) the position of each operator's group; ``groups`` how many they are.
    """

    x: torch.Tensor
    edge_index: torch.Tensor
    batch: torch.Tensor
    groups: int


class InvalidGroups:
    """Up to ``most`` of the groups at ``positions`` in ``dataset`` that have an inner edge and exceed some buffer.

    Raises ExplainerError if there is none.
    """

    def __init__(
        self, dataset: GroupDataset, positions: NDArray[np.int64], generator: torch.Generator, most: int = MOST_GROUPS
    ) -> None:
        self._tensors = GroupTensors(dataset)
        self._buffers = torch.tensor(sorted(dataset.buffers_bytes))
        edges = np.diff(dataset.edge_ends, prepend=0)[positions]
        usable = positions[(edges > 0) & (dataset.requirement_bytes[positions] > min(dataset.buffers_bytes))]
        if not len(usable):
            raise ExplainerError("no group of two or more operators is invalid: nothing to learn explanations from")
        self.positions = torch.from_numpy(usable)[torch.randperm(len(usable), generator=generator)[:most]]

    def batches(self, size: int, generator: torch.Generator) -> Iterator[Samples]:
        """Every group once in random order, each at a random one of the buffer sizes that it exceeds."""
        needed = self._tensors.requirement_bytes
        for part in self.positions[torch.randperm(len(self.positions), generator=generator)].split(size):
            exceeded = needed[part, None] > self._buffers[None, :]
            column = torch.multinomial(exceeded.double(), 1, generator=generator).squeeze(1)
            found = self._tensors.select(part)
            yield Samples(found.features(self._buffers[column]), found.edge_index, found.batch, len(part))


def check_epochs(epochs: int) -> None:
    """Raise ExplainerError for less than one epoch."""
    if epochs < 1:
        raise ExplainerError(f"epochs {epochs} is not allowed; at least 1 is needed")
