"""address_layout: addresses for what is on chip at different times, so that as little memory as possible is needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

# Orders that are tried where the first ones leave gaps: so many, and fewer where there are more than 20 things.
TRIES, WORK = 200, 4000


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
    the search ends when no more is needed than the most that is there at one time. The same stays get the same layout.
    """
    least = _most_at_once(stays, alignment)
    best: tuple[int, list[int]] | None = None
    for order in _orders(stays):
        addresses = _first_fit(stays, order, alignment)
        end = layout_end(stays, addresses)
        if best is None or end < best[0]:
            best = end, addresses
        if best[0] <= least:
            break
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


def _orders(stays: Sequence[Stay]) -> list[list[int]]:
    every = range(len(stays))
    if len({(stay.first, stay.last) for stay in stays}) <= 1:  # one after another
        return [list(every)]
    length = [stay.last - stay.first for stay in stays]
    size = [stay.size_bytes for stay in stays]
    keys = [
        lambda k: (-size[k], -length[k], k),
        lambda k: (-length[k], -size[k], k),
        lambda k: (-size[k] * (length[k] + 1), k),
        lambda k: (stays[k].first, -size[k], k),
        lambda k: (-stays[k].last, -size[k], k),
    ]
    found = [sorted(every, key=key) for key in keys]
    random = np.random.default_rng(0)
    start = found[0]
    for _ in range(min(TRIES, WORK // len(stays))):  # the largest first, with places exchanged
        order = list(start)
        for a, b in random.integers(len(stays), size=(3, 2)):
            order[a], order[b] = order[b], order[a]
        found.append(order)
    return found


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
