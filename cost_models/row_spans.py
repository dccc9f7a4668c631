"""Spans of rows: the parts that the rows of a tensor are cut into, and what a span of a reader's rows needs."""

from __future__ import annotations

from tvm_fusion.graph.demand import RowDemand

# First row and the one after the last.
Span = tuple[int, int]
NO_ROWS: Span = (0, 0)


def share(rows: int, part: int, parts: int) -> Span:
    """Part ``part`` of ``rows`` rows cut into ``parts`` as equal as can be; tensors of other heights proportionally."""
    return part * rows // parts, (part + 1) * rows // parts


def hull(a: Span, b: Span) -> Span:
    """The shortest span that holds both."""
    if a[0] >= a[1]:
        return b
    return a if b[0] >= b[1] else (min(a[0], b[0]), max(a[1], b[1]))


def demanded(demand: RowDemand, rows: Span, height: int) -> Span:
    """The rows of an operand of ``height`` rows that ``rows`` of its reader need, and those between them."""
    span = NO_ROWS
    for row in range(*rows):
        first, last = demand.rows(row, height)
        span = hull(span, (first, last + 1))
    return span
