"""LBDF: line-buffer depth-first execution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Fit, Scheme
from tvm_fusion.cost_models.simulator import SimulationResult, simulate_line_buffer
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph, mask_of


class LineBuffers(Scheme):
    """Row by row; every tensor in a ring of lines, all weights on chip."""

    name = "lbdf"
    fits_behind_cuts = True

    def __init__(
        self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None, recompute: bool = True
    ) -> None:
        super().__init__(graph, accelerator, sizes, recompute)
        self.model = LineBufferModel(graph, accelerator, self.sizes)
        self._requirement: dict[int, int] = {}

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost:  # noqa: ARG002 - has none
        """The report of a group; LBDF has nothing to choose."""
        return self.model.cost(mask)

    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """Row by row."""
        return simulate_line_buffer(self.graph, mask_of(cost.operators), self.accelerator, keep_timeline=keep_timeline)

    def fit(self, mask: int) -> Fit:
        """Bounds first: most groups that do not fit are told by their weights or their widest windows."""
        buffer_bytes, weight_bytes = self.accelerator.buffer_bytes, self.sizes.weights(mask)
        dram_bytes = sum(self.sizes.boundary_bytes(mask)) + weight_bytes
        if weight_bytes > buffer_bytes:
            return Fit(False, dram_bytes, weight_bytes)
        needed = self.model.lower_bound_bytes(mask)
        if needed <= buffer_bytes:
            needed = self.requirement_bytes(mask)
        return Fit(needed <= buffer_bytes, dram_bytes, needed)

    def requirement_bytes(self, mask: int) -> int:
        """Exact F_B of a group, also where it exceeds the buffer."""
        found = self._requirement.get(mask)
        if found is None:
            found = self._requirement[mask] = self.model.requirement_bytes(mask)
        return found
