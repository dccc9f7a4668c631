"""Objective: the one number of a group that a search makes small."""

from __future__ import annotations

from math import ceil

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj, group_sram_bytes
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.graph import members

OBJECTIVES = ("dram", "energy", "cycles")


class Objective:
    """DRAM bytes, estimated energy in pJ, or estimated cycles, as whole numbers (rounded up), so that sums do not
    depend on their order.

    ``work[i]`` is what operator i adds to the part of it that no fusion saves: nothing, pJ of its arithmetic and of its
    accesses on chip, or cycles of its arithmetic. Raises SchemeError for an unknown name.
    """

    def __init__(self, name: str, sizes: Sizes, accelerator: Accelerator) -> None:
        check_objective(name)
        self.name = name
        self.sizes = sizes
        self.accelerator = accelerator
        operators = sizes.graph.operators
        self._macs = [op.macs * op.batch for op in operators]
        self.work = [self._work(op.id) for op in operators]

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:
        """The number of a group that moves ``dram_bytes``."""
        if self.name == "dram":
            return dram_bytes
        macs = recomputed_macs + sum(self._macs[i] for i in members(mask))
        if self.name == "cycles":
            return ceil(estimated_cycles(self.accelerator, dram_bytes, macs))
        return ceil(estimated_energy_pj(self.accelerator, self.sizes, mask, dram_bytes, macs))

    def least(self, dram_bytes: int, work: float) -> int:
        """A bound from below of groups that move at least ``dram_bytes``; ``work`` of their operators added up."""
        if self.name == "dram":
            return dram_bytes
        if self.name == "cycles":
            return int(max(estimated_cycles(self.accelerator, dram_bytes, 0), work))
        return int(dram_bytes * self.accelerator.dram_pj_per_byte + work)

    def _work(self, i: int) -> float:
        if self.name == "dram":
            return 0.0
        if self.name == "cycles":
            return self._macs[i] / self.accelerator.macs_per_cycle
        sram_bytes = group_sram_bytes(self.sizes, [i])
        return sram_bytes * self.accelerator.sram_pj_per_byte + self._macs[i] * self.accelerator.mac_pj


def check_objective(name: str) -> None:
    """Raise SchemeError unless ``name`` is that of an objective."""
    if name not in OBJECTIVES:
        raise SchemeError(f"objective {name!r} is unknown; allowed: {', '.join(OBJECTIVES)}")
