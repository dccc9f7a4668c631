"""BRR: buffer requirement reduction, a group in horizontal bands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.band_growth import BandBound
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.bands_simulator import simulate_bands
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Fit, Scheme
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of


class BandsOfRows(Scheme):
    """Band by band, one operator after another; weights kept on chip or streamed for each band.

    Parameters: ``bands`` and ``kept``, the operators whose weights stay.
    """

    name = "brr"
    fits_behind_cuts = True

    def __init__(
        self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None, recompute: bool = True
    ) -> None:
        super().__init__(graph, accelerator, sizes, recompute)
        self.model = BandModel(graph, accelerator, self.sizes)
        self._bounds: dict[int, BandBound] = {}
        self._requirement: dict[int, int] = {}

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """The report of a group, in the bands and with the kept weights of ``parameters``."""
        if not parameters:
            return self.model.cost(mask)
        bands, kept = parameters.get("bands"), parameters.get("kept", [])
        if isinstance(bands, bool) or not isinstance(bands, int):
            raise CostModelError(f"bands {bands!r} of a brr group must be a whole number from 1")
        if not isinstance(kept, list | tuple) or any(isinstance(i, bool) or not isinstance(i, int) for i in kept):
            raise CostModelError(f"kept {kept!r} of a brr group must be a list of operator ids")
        return self.model.cost(mask, bands, kept)

    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """Band by band."""
        bands, kept = cost.parameters["bands"], cost.parameters["kept"]
        return simulate_bands(self.graph, mask_of(cost.operators), self.accelerator, bands, kept, keep_timeline)

    def fit(self, mask: int) -> Fit:
        """The best choice; nothing is chosen for a group that no number of bands can make fit."""
        needed = self.growth_bound_bytes(mask)
        choice = None if needed > self.accelerator.buffer_bytes else self.model.choose(mask)
        if choice is None:
            compulsory = sum(self.sizes.boundary_bytes(mask)) + self.sizes.weights(mask)
            return Fit(False, compulsory, max(needed, self.accelerator.buffer_bytes + 1))
        recomputed_macs = self.model.cost(mask, choice.bands, choice.kept).recomputed_macs
        return Fit(True, choice.dram_bytes, choice.buffer_bytes, recomputed_macs)

    def requirement_bytes(self, mask: int) -> int:
        """See :class:`Scheme`: all weights streamed, the number of bands that needs least. Exact."""
        found = self._requirement.get(mask)
        if found is None:
            found = self._requirement[mask] = self.model.requirement_bytes(mask)
        return found

    def growth_bound_bytes(self, mask: int) -> int:
        """See :mod:`tvm_fusion.cost_models.band_growth`."""
        return self._bound(mask).needed_bytes

    def growth_extra_bytes(self, mask: int) -> int:
        """Weights that pass more than once."""
        return self._bound(mask).extra_bytes

    def _bound(self, mask: int) -> BandBound:
        found = self._bounds.get(mask)
        if found is None:
            part = self._bounds.get(mask ^ 1 << mask.bit_length() - 1)  # nothing reads the last operator
            found = self._bounds[mask] = self.model.growth_bound(mask, max(1, part.bands) if part is not None else 1)
        return found
