"""LoweringOptions: for what the rows of a group are written."""

from __future__ import annotations

from dataclasses import dataclass, field

from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.vectors import Vectors

# MACs and elements; of less, waiting for other threads takes longer than their help saves.
LEAST_SHARED_WORK = 200_000


@dataclass(frozen=True)
class LoweringOptions:
    """``scope`` of line buffers and weights, the ``vectors`` of the target, and how many ``threads`` share a group."""

    scope: str = DEFAULT_SCOPE
    vectors: Vectors = field(default_factory=Vectors)
    threads: int = 1

    def shares(self, graph: OperatorGraph) -> bool:
        """Whether a group is large enough for several threads."""
        return self.threads > 1 and sum(op.macs + op.elements for op in graph.operators) >= LEAST_SHARED_WORK
