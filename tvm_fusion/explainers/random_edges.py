"""RandomEdges: importance by chance, the baseline that every explainer must beat."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tvm_fusion.explainers.base import Explainer, inner_edges


class RandomEdges(Explainer):
    """Uniform scores that depend on the seed and the group alone."""

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        """See :meth:`Explainer.scores`."""
        return [self._of(mask) for mask in masks]

    def _of(self, mask: int) -> Sequence[float]:
        words = list(mask.to_bytes(-(-mask.bit_length() // 8), "little"))
        generator = np.random.default_rng([self.seed, *words])
        found: list[float] = generator.random(len(inner_edges(self.graph, mask))).tolist()
        return found
