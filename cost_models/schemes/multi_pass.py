"""Two passes, or k + 1: rows run again so that no map waits for its scale."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.cost_models.multi_pass_simulator import simulate_passes
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Fit, Scheme
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph, mask_of


class MultiPass(Scheme):
    """LBDF in passes: each makes the scales that the next ones need, the last one what is left of the results.

    It lives from recomputation. Parameters: ``split``, the accumulating operators whose chains are split off;
    ``kept``, the operators whose weights stay throughout; ``weights``, "shared" or "reloaded": whether other weights
    stay from a pass to the next. See :mod:`tvm_fusion.cost_models.multi_pass`.
    """

    name = "two-pass"
    exact_choice = False  # of more than five chains not every set is tried
    recomputes = True

    def __init__(
        self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None, recompute: bool = True
    ) -> None:
        super().__init__(graph, accelerator, sizes, recompute)
        self.model = MultiPassModel(graph, accelerator, self.sizes)

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost | None:
        """The report of a group; None if it has no chain that could be split off, or nothing may be executed again."""
        return self.model.cost(mask, parameters) if self.recompute else None

    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """Row by row, pass by pass."""
        mask, chosen = mask_of(cost.operators), cost.parameters
        return simulate_passes(
            self.graph, mask, self.accelerator, chosen["split"], chosen["kept"], chosen["weights"], keep_timeline
        )

    def fit(self, mask: int) -> Fit | None:
        """The best choice; nothing is chosen for a group that a bound says does not fit."""
        if not self.recompute or not self.model.chains.units(mask):
            return None
        choice = self.model.choose(mask)
        if choice is None:
            compulsory = sum(self.sizes.boundary_bytes(mask)) + self.sizes.weights(mask)
            return Fit(False, compulsory, max(self.growth_bound_bytes(mask), self.accelerator.buffer_bytes + 1))
        return Fit(True, choice.dram_bytes, choice.buffer_bytes, choice.group.recomputed_macs())

    def growth_bound_bytes(self, mask: int) -> int:
        """Holds for LBDF too; see :mod:`tvm_fusion.cost_models.pass_bound`."""
        return self.model.growth_bound_bytes(mask)
