"""Why a group fits on chip or not: its bytes by tensor against the buffer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.graph.graph import OperatorGraph, mask_of


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that a group keeps on chip: lines of a tensor, or an operator's weights (lines None)."""

    kind: str
    number: int
    name: str
    lines: int | None
    height: int | None
    bytes: int

    @property
    def label(self) -> str:
        """How a reader finds it: "input 0", "tensor 12", "weights 12"."""
        return f"{self.kind} {self.number}"


@dataclass(frozen=True, slots=True)
class Explanation:
    """``line_buffers`` is the group under LBDF, ``cost`` the way in which it really executes."""

    graph: OperatorGraph
    accelerator: Accelerator
    line_buffers: GroupCost
    cost: GroupCost
    parts: tuple[Part, ...]

    @property
    def smallest_buffer_bytes(self) -> int:
        """The smallest buffer at which the group is valid under LBDF: exactly what it requires."""
        return self.line_buffers.buffer_bytes

    @property
    def fits(self) -> bool:
        """Whether the requirement is at most the buffer."""
        return self.smallest_buffer_bytes <= self.accelerator.buffer_bytes

    def verdict(self) -> str:
        """One sentence for a person."""
        needed, buffer = self.smallest_buffer_bytes, self.accelerator.buffer_bytes
        sizes = f"it needs {needed:,} bytes ({needed / 1024:.1f} KiB) of {buffer:,} ({buffer / 1024:g} KiB)"
        if self.fits:
            return f"Valid: {sizes}, {buffer - needed:,} are left. It fits from a buffer of {needed:,} bytes on."
        largest = max(self.parts, key=lambda part: part.bytes)
        text = (
            f"Invalid under LBDF: {sizes}, {needed - buffer:,} too many. The smallest buffer at which it fits is "
            f"{needed:,} bytes. The largest part is {largest.label} ({largest.name}): {largest.bytes:,} bytes."
        )
        if self.cost.scheme == "layer":
            weights = self.line_buffers.weight_buffer_bytes
            why = " (its weights alone are larger than the buffer)" if weights > buffer else ""
            text += f" Alone it executes layer by layer{why}, moving {self.cost.dram_bytes:,} bytes."
        return text

    def to_json(self) -> dict[str, Any]:
        """The explanation by name; ``buffer_bytes`` is the requirement under LBDF."""
        return {
            "operators": list(self.line_buffers.operators),
            "names": [self.graph.operators[i].name for i in self.line_buffers.operators],
            "valid": self.cost.valid,
            "scheme": self.cost.scheme,
            "fits_line_buffers": self.fits,
            "buffer_bytes": self.line_buffers.buffer_bytes,
            "accelerator_buffer_bytes": self.accelerator.buffer_bytes,
            "excess_bytes": max(0, self.smallest_buffer_bytes - self.accelerator.buffer_bytes),
            "smallest_buffer_bytes": self.smallest_buffer_bytes,
            "tensors": [
                {"tensor": part.number if part.kind == "tensor" else -part.number - 1, "name": part.name}
                | {"lines": part.lines, "height": part.height, "bytes": part.bytes}
                for part in self.parts
                if part.kind != "weights"
            ],
            "weights": [
                {"operator": part.number, "name": part.name, "bytes": part.bytes}
                for part in self.parts
                if part.kind == "weights"
            ],
            "weight_buffer_bytes": self.line_buffers.weight_buffer_bytes,
            "dram_bytes": self.cost.to_json()["dram_bytes"],
            "verdict": self.verdict(),
        }


def explain_group(graph: OperatorGraph, operators: tuple[int, ...], accelerator: Accelerator) -> Explanation:
    """Explain the group of ``operators`` (ids of ``graph``, connected) on ``accelerator``."""
    mask = mask_of(operators)
    oracle = Oracle(graph, accelerator)
    line_buffers = oracle.model.cost(mask)
    parts = [
        Part(
            kind="tensor" if buffer.tensor >= 0 else "input",
            number=buffer.tensor if buffer.tensor >= 0 else -buffer.tensor - 1,
            name=graph.tensor(buffer.tensor).name,
            lines=buffer.lines,
            height=graph.tensor(buffer.tensor).height,
            bytes=buffer.bytes,
        )
        for buffer in line_buffers.buffers
    ]
    parts += [
        Part("weights", i, graph.operators[i].name, None, None, oracle.sizes.weight_bytes[i])
        for i in line_buffers.operators
        if oracle.sizes.weight_bytes[i]
    ]
    return Explanation(graph, accelerator, line_buffers, oracle.cost(mask), tuple(parts))
