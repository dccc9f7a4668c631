"""Unfused: every operator alone."""

# ruff: noqa: ARG002 - the interface gives more than every algorithm needs
from __future__ import annotations

from collections.abc import Sequence

from tvm_fusion.search.algorithm import Algorithm
from tvm_fusion.search.problem import Partition


class Unfused(Algorithm):
    """Proposes the one plan that is always valid."""

    def ask(self, limit: int) -> Sequence[Partition]:
        """Every operator alone."""
        self.finished = True
        return [self.problem.unfused]
