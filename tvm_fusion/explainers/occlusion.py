"""Occlusion: remove an edge and ask the exact oracle how far the requirement falls."""

from __future__ import annotations

from collections.abc import Sequence

from tvm_fusion.explainers.base import Edge, Explainer, inner_edges
from tvm_fusion.graph.cuts import fewest_edges


class Occlusion(Explainer):
    """The part of the excess over the buffer that cutting an edge takes away; no learning, only the truth.

    An edge is removed with the other edges that must go, in the way that leaves the larger part smallest.
    The excess left is that of the part which exceeds the buffer more.
    """

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        """See :meth:`Explainer.scores`."""
        return [[self._relief(mask, edge) for edge in inner_edges(self.graph, mask)] for mask in masks]

    def _relief(self, mask: int, edge: Edge) -> float:
        needed = self.oracle.requirement_bytes
        whole = needed(mask)
        excess = max(1, whole - self.oracle.accelerator.buffer_bytes)
        least = min(
            (max(needed(head), needed(mask & ~head)) for head in fewest_edges(self.graph, mask, edge)), default=whole
        )
        return (whole - least) / excess
