"""GroupParts: which groups of a dataset are learned from, which choose the best weights, which are the test."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.dataset import GroupDataset

FEWEST_GROUPS = 10
Positions = NDArray[np.int64]


class GroupParts(NamedTuple):
    """Positions of groups. All buffer sizes of a group, so of a structure, are in the same part."""

    train: Positions
    validation: Positions
    test: Positions


def random_parts(dataset: GroupDataset, seed: int) -> GroupParts:
    """80 % to learn from, 10 % to choose by, 10 % to test on, by chance. Raises ExplainerError for too few groups."""
    groups = len(dataset)
    if groups < FEWEST_GROUPS:
        raise ExplainerError(f"{groups} groups are too few to learn from; at least {FEWEST_GROUPS} are needed")
    order = np.random.default_rng([seed, groups]).permutation(groups)
    tenth = groups // 10
    return GroupParts(order[2 * tenth :], order[tenth : 2 * tenth], order[:tenth])


def network_parts(dataset: GroupDataset, network: str, seed: int) -> GroupParts:
    """All groups of one network as the test, of the others a tenth to choose by. Raises ExplainerError."""
    if network not in dataset.networks:
        raise ExplainerError(f"network {network!r} is not in the dataset; it has {', '.join(dataset.networks)}")
    held_out = dataset.network == dataset.networks.index(network)
    order = np.random.default_rng([seed, len(dataset)]).permutation(len(dataset))
    rest = order[~held_out[order]]
    if len(rest) < FEWEST_GROUPS or not held_out.any():
        raise ExplainerError(f"with network {network!r} held out, {len(rest)} groups are left to learn from")
    tenth = len(rest) // 10
    return GroupParts(rest[tenth:], rest[:tenth], np.flatnonzero(held_out))
