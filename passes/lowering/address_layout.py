"""address_layout: addresses for what is on chip at different times, so that as little memory as possible is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

# Random orders that are tried where others leave gaps: so many, fewer where there are more than 66 things; and how
# often one of them is mended.
TRIES, WORK = 60, 4000
ROUNDS = 8


class Stay(NamedTuple):
    """``size_bytes`` that are there from step ``first`` to step ``last``."""

    size_bytes: int
    first: int
    last: int

    def meets(self, other: Stay) -> bool:
        """Whether both are there at one time."""
        return self.first <= other.last and other.first <= self.last


def address_layout(stays: Sequence[Stay], alignment: int = 1) -> list[int]:
    """An address for each, a multiple of ``alignment``, so that what is there at one time does not overlap.

    Each is put at the lowest address that is free while it is there, in several orders, of which the best one counts;
    what came to lie beyond the least that is needed at one time is put first in the next round. The search ends when no
    more is needed than that. The same stays get the same layout.
    """
    least = _most_at_once(stays, alignment)
    best: tuple[int, list[int]] | None = None
    for start in _orders(stays):
        order = start
        for _ in range(ROUNDS):
            addresses = _first_fit(stays, order, alignment)
            end = layout_end(stays, addresses)
            if best is None or end < best[0]:
                best = end, addresses
            if best[0] <= least:
                return best[1]
            order = sorted(order, key=lambda k: addresses[k] + stays[k].size_bytes <= least)
    return best[1] if best is not None else []


def layout_end(stays: Sequence[Stay], addresses: Sequence[int]) -> int:
    """The first address that nothing lies at."""
    return max((address + stay.size_bytes for stay, address in zip(stays, addresses, strict=True)), default=0)


def _most_at_once(stays: Sequence[Stay], alignment: int) -> int:
    """A bound that no layout is below: sizes rounded up but for the last one."""
    slack = alignment - 1
    return max(
        (
            sum(-(-s.size_bytes // alignment) * alignment for s in stays if s.first <= step <= s.last) - slack
            for step in {stay.first for stay in stays}
        ),
        default=0,
    )


def _orders(stays: Sequence[Stay]) -> Iterator[list[int]]:
    every = list(range(len(stays)))
    if len({(stay.first, stay.last) for stay in stays}) <= 1:  # one after another
        yield every
        return
    length = [stay.last - stay.first for stay in stays]
    size = [stay.size_bytes for stay in stays]
    keys: tuple[Callable[[int], Any], ...] = (
        lambda k: (-size[k], -length[k], k),
        lambda k: (-length[k], -size[k], k),
        lambda k: (-size[k] * (length[k] + 1), k),
        lambda k: (stays[k].first, -size[k], k),
        lambda k: (-stays[k].last, -size[k], k),
    )
    for key in keys:
        yield sorted(every, key=key)
    random = np.random.default_rng(0)
    for _ in range(min(TRIES, WORK // len(stays))):
        yield random.permutation(len(stays)).tolist()


def _first_fit(stays: Sequence[Stay], order: Sequence[int], alignment: int) -> list[int]:
    addresses = [0] * len(stays)
    placed: list[int] = []
    for k in order:
        taken = sorted((addresses[p], addresses[p] + stays[p].size_bytes) for p in placed if stays[p].meets(stays[k]))
        address = 0
        for first, end in taken:
            if address + stays[k].size_bytes <= first:
                break
            address = max(address, -(-end // alignment) * alignment)
        addresses[k] = address
        placed.append(k)
    return addresses
