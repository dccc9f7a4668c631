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

    ``buffer_bytes`` is the requirement. In LBDF it is the sum of ``buffers`` and ``weight_buffer_bytes``; elsewhere
    ``buffers`` are the most that there ever is of every tensor, which need not be there at one time.
    ``weight_buffer_bytes`` are weights that stay on chip. ``macs`` include ``recomputed_macs``, executed again.
    ``parameters``, as JSON, are what the scheme itself chose: with them it executes the group just so.
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
    recomputed_macs: int = 0
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)

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
        if self.parameters:
            found |= {"parameters": self.parameters, "recomputed_macs": self.recomputed_macs}
        return found
