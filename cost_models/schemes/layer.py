"""Layer by layer: an operator alone, in tiles."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.layerwise import layerwise_cost
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.graph.graph import mask_of


class Layer(Scheme):
    """One operator, half of the buffer holding the part that stays; it always fits."""

    name = "layer"

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost | None:  # noqa: ARG002 - has none
        """The report of one operator; None for several."""
        if mask & (mask - 1):
            return None
        return layerwise_cost(self.graph, mask.bit_length() - 1, self.accelerator, self.sizes)

    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """The formula again, evenly over the rows of the output: the page defines no events."""
        mask = mask_of(cost.operators)
        again = layerwise_cost(self.graph, mask.bit_length() - 1, self.accelerator)
        operator = self.graph.operators[again.operators[0]]
        rows = operator.height * operator.batch
        points = ((row, again.buffer_bytes, again.dram_bytes * (row + 1) // rows) for row in range(rows))
        return SimulationResult(
            buffer_bytes=again.buffer_bytes,
            buffers=(),
            input_bytes=again.input_bytes,
            output_bytes=again.output_bytes,
            weight_bytes=again.weight_bytes,
            peak_occupancy_bytes=again.buffer_bytes,
            timeline=tuple(points) if keep_timeline else (),
        )
