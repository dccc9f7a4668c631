"""Frozen reports of what a group needs on chip and moves, by tensor."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class TensorBuffer:
    """On-chip lines of one tensor: 0 where it is computed in place. ``tensor`` < 0: a network input."""

    tensor: int
    lines: int
    bytes: int


@dataclass(frozen=True, slots=True)
class GroupCost:
    """What one fusion group costs in one scheme; DRAM bytes are for the whole batch.

    ``buffer_bytes`` is the requirement; in LBDF the sum of ``buffers`` and ``weight_buffer_bytes``. In BRR ``bands`` is
    the number of bands and ``kept`` the operators whose weights stay on chip (``weight_buffer_bytes``); ``buffers`` are
    the largest band of every tensor, which need not be there at one time; ``macs`` include ``recomputed_macs``, those
    of halo rows that are made again.
    Cycles and energy are estimates (roofline; see :mod:`tvm_fusion.cost_models.estimate`).
    """

    operators: tuple[int, ...]
    scheme: str
    valid: bool
    buffer_bytes: int
    buffers: tuple[TensorBuffer, ...]
    weight_buffer_bytes: int
    input_bytes: int
    output_bytes: int
    weight_bytes: int
    macs: int
    estimated_cycles: float
    estimated_energy_pj: float
    bands: int | None = None
    kept: tuple[int, ...] = ()
    recomputed_macs: int = 0
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def dram_bytes(self) -> int:
        """Everything that moves: inputs, outputs and weights."""
        return self.input_bytes + self.output_bytes + self.weight_bytes

    def to_json(self) -> dict[str, Any]:
        """One entry of the groups that ``tvm-fusion evaluate --json`` prints."""
        found: dict[str, Any] = {
            "operators": list(self.operators),
            "valid": self.valid,
            "scheme": self.scheme,
            "buffer_bytes": self.buffer_bytes,
            "dram_bytes": {
                "inputs": self.input_bytes,
                "outputs": self.output_bytes,
                "weights": self.weight_bytes,
                "total": self.dram_bytes,
            },
        }
        if self.bands is not None:
            found |= {"bands": self.bands, "kept": list(self.kept), "recomputed_macs": self.recomputed_macs}
        return found
