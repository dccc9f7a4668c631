"""kept_weights: which operators' weights a group in bands keeps on chip; exact."""

from __future__ import annotations

from collections.abc import Sequence
from math import gcd
from typing import NamedTuple


class Streamed(NamedTuple):
    """One operator: its weights (at least 1 byte), a sub-group of them, and the bands alive while it runs, in bytes."""

    weight_bytes: int
    part_bytes: int
    alive_bytes: int


def kept_weights(operators: Sequence[Streamed], alive_bytes: int, buffer_bytes: int) -> tuple[int, ...]:
    """Positions of the operators to keep so that most weight bytes are kept and everything fits.

    ``alive_bytes``: most bands alive over all operators, those without weights too. To keep the set K takes
    max over operators of (bands alive + sub-group, if not in K) + bytes of K. All streamed must fit.

    Each kept byte saves as much as any other, so this is a subset sum. If K has s bytes, an operator of which bands,
    sub-group and s exceed the buffer must be in K, the others may. Operators by the s from which they must be: for each
    number of them that must, the sums that the others reach are the bits of one integer.
    """
    most = min(buffer_bytes - alive_bytes, sum(op.weight_bytes for op in operators))
    if most == sum(op.weight_bytes for op in operators):
        return tuple(range(len(operators)))
    unit = gcd(*(op.weight_bytes for op in operators))
    # The largest s with which an operator may still be streamed, and the operators by it, the freest first.
    limit = [buffer_bytes - op.alive_bytes - op.part_bytes for op in operators]
    order = sorted(range(len(operators)), key=lambda k: -limit[k])
    bits = (1 << most // unit + 1) - 1
    reached = [1]  # by the first 0, 1, .. operators of ``order``
    for k in order:
        reached.append((reached[-1] | reached[-1] << operators[k].weight_bytes // unit) & bits)
    forced = sum(op.weight_bytes for op in operators) // unit
    best, found = -1, 0
    for free in range(len(order) + 1):
        # The first ``free`` may be streamed: s is at most the limit of the last of them.
        top = min(most, limit[order[free - 1]]) // unit if free else most // unit
        if top >= forced:
            sums = (reached[free] & ((1 << top - forced + 1) - 1)).bit_length() - 1
            if forced + sums > best:
                best, found = forced + sums, free
        if free < len(order):
            forced -= operators[order[free]].weight_bytes // unit
    kept = order[found:]
    left = best - sum(operators[k].weight_bytes // unit for k in kept)
    for free in range(found, 0, -1):
        if not reached[free - 1] >> left & 1:
            kept.append(order[free - 1])
            left -= operators[order[free - 1]].weight_bytes // unit
    return tuple(sorted(kept))
