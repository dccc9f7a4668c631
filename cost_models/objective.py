"""Objectives: the one number of a group that a search makes small, as a whole number (sums do not depend on order)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from math import ceil

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj, group_sram_bytes
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.graph import members


class Objective(ABC):
    """``work[i]`` is what operator i adds to the part of the objective that no scheme and no fusion saves."""

    name: str

    def __init__(self, sizes: Sizes, accelerator: Accelerator) -> None:
        self.sizes = sizes
        self.accelerator = accelerator
        self.macs = [op.macs * op.batch for op in sizes.graph.operators]
        self.work = [0.0] * len(self.macs)

    @abstractmethod
    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:
        """The number of a group that moves ``dram_bytes``."""

    @abstractmethod
    def least(self, dram_bytes: int, work: float) -> int:
        """A bound from below of groups that move at least ``dram_bytes``; ``work`` of their operators added up."""

    def all_macs(self, mask: int, recomputed_macs: int) -> int:
        """Those of a group, with what is executed again."""
        return recomputed_macs + sum(self.macs[i] for i in members(mask))


class DramBytes(Objective):
    """Everything that moves between DRAM and the chip."""

    name = "dram"

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:  # noqa: ARG002 - not counted
        """``dram_bytes``."""
        return dram_bytes

    def least(self, dram_bytes: int, work: float) -> int:  # noqa: ARG002 - has none
        """``dram_bytes``."""
        return dram_bytes


class Energy(Objective):
    """Estimated pJ, rounded up."""

    name = "energy"

    def __init__(self, sizes: Sizes, accelerator: Accelerator) -> None:
        super().__init__(sizes, accelerator)
        sram, mac = accelerator.sram_pj_per_byte, accelerator.mac_pj
        self.work = [group_sram_bytes(sizes, [i]) * sram + macs * mac for i, macs in enumerate(self.macs)]

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:
        """See :mod:`tvm_fusion.cost_models.estimate`."""
        macs = self.all_macs(mask, recomputed_macs)
        return ceil(estimated_energy_pj(self.accelerator, self.sizes, mask, dram_bytes, macs))

    def least(self, dram_bytes: int, work: float) -> int:
        """Traffic and ``work``; what outside tensors cost on chip is left out."""
        return int(dram_bytes * self.accelerator.dram_pj_per_byte + work)


class Cycles(Objective):
    """Estimated cycles, rounded up."""

    name = "cycles"

    def __init__(self, sizes: Sizes, accelerator: Accelerator) -> None:
        super().__init__(sizes, accelerator)
        self.work = [macs / accelerator.macs_per_cycle for macs in self.macs]

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:
        """See :mod:`tvm_fusion.cost_models.estimate`."""
        return ceil(estimated_cycles(self.accelerator, dram_bytes, self.all_macs(mask, recomputed_macs)))

    def least(self, dram_bytes: int, work: float) -> int:
        """The longer of transfer and arithmetic."""
        return int(max(estimated_cycles(self.accelerator, dram_bytes, 0), work))


class RecomputedMacs(Objective):
    """Arithmetic that is executed again."""

    name = "macs"

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:  # noqa: ARG002 - not counted
        """``recomputed_macs``."""
        return recomputed_macs

    def least(self, dram_bytes: int, work: float) -> int:  # noqa: ARG002 - none at best
        """Nothing need be executed again."""
        return 0


class WeightedSum(Objective):
    """``dram_weight`` times DRAM bytes plus ``other_weight`` times another objective (whole numbers from 0)."""

    def __init__(self, dram_weight: int, other: Objective, other_weight: int) -> None:
        super().__init__(other.sizes, other.accelerator)
        self.work = other.work
        self.dram_weight, self.other, self.other_weight = dram_weight, other, other_weight
        self.name = f"{dram_weight} dram + {other_weight} {other.name}"

    def value(self, mask: int, dram_bytes: int, recomputed_macs: int = 0) -> int:
        """The sum."""
        other = self.other.value(mask, dram_bytes, recomputed_macs)
        return self.dram_weight * dram_bytes + self.other_weight * other

    def least(self, dram_bytes: int, work: float) -> int:
        """The sum of both bounds."""
        return self.dram_weight * dram_bytes + self.other_weight * self.other.least(dram_bytes, work)


_CLASSES: dict[str, type[Objective]] = {c.name: c for c in (DramBytes, Energy, Cycles, RecomputedMacs)}
# Those that a search may have alone: no group need execute anything again.
OBJECTIVES = ("dram", "energy", "cycles")
# What DRAM bytes can be weighed against.
AGAINST = ("macs", "energy", "cycles")


def make_objective(name: str, sizes: Sizes, accelerator: Accelerator) -> Objective:
    """The objective of a name of OBJECTIVES or AGAINST. Raises SchemeError for another."""
    if name not in _CLASSES:
        check_objective(name)
    return _CLASSES[name](sizes, accelerator)


def check_objective(name: str) -> None:
    """Raise SchemeError unless a search may have ``name`` as its objective."""
    if name not in OBJECTIVES:
        raise SchemeError(f"objective {name!r} is unknown; allowed: {', '.join(OBJECTIVES)}")
