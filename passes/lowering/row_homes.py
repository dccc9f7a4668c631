"""row_homes: in whose rows every tensor of a group lives on chip, and what they are called."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tvm_fusion.graph.graph import OperatorGraph


@dataclass(frozen=True, slots=True)
class RowHome:
    """The rows ``name``, of which there are ``lines``, are those of tensor ``owner``.

    ``beside``: held beside what the cost model counts, as a second operand in place is.
    """

    owner: int
    name: str
    lines: int
    beside: bool = False


def row_homes(graph: OperatorGraph, lines: Mapping[int, int]) -> dict[int, RowHome]:
    """By tensor, owners before those in their rows; ``lines`` as the cost model has them, 0 for a tensor in place.

    A tensor in place lives in the rows of its consumer. Of two in one consumer the second has a row of its own until it
    is merged, and so has one of another dtype than the row that it would take.
    """
    first: dict[int, int] = {}  # of each consumer the operand that is computed in its row
    for i in sorted(i for i in lines if not lines[i]):
        first.setdefault(graph.consumers[i][0], i)
    homes: dict[int, RowHome] = {}
    for i in sorted(lines, reverse=True):
        name = f"input_{-i - 1}" if i < 0 else f"{graph.operators[i].type.replace('.', '_')}_{i}"
        if lines[i]:
            homes[i] = RowHome(i, f"{name}_rows", lines[i])
            continue
        consumer = graph.consumers[i][0]
        same_dtype = graph.tensor(i).dtype == graph.tensor(homes[consumer].owner).dtype
        shared = first[consumer] == i and same_dtype
        homes[i] = homes[consumer] if shared else RowHome(i, f"{name}_row", 1, beside=True)
    return homes
