"""BRR executed row by row: bands loaded, made, written and freed, weights streamed, counted one event after another.

Written apart from :mod:`tvm_fusion.cost_models.bands`, whose figures it checks. It shares with it the width of dtypes
and weights, the number of output channels and the form of the report, nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.scheme import TensorBuffer
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits, output_channels, weight_bytes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph


def simulate_bands(
    graph: OperatorGraph,
    mask: int,
    accelerator: Accelerator,
    bands: int,
    kept: Collection[int] = (),
    keep_timeline: bool = False,
) -> SimulationResult:
    """Execute the operators of ``mask`` in ``bands``, the weights of ``kept`` on chip throughout, image after image.

    In the result ``buffers`` are the largest band of every tensor, and the requirement is the peak occupancy. Raises
    CostModelError for a mask, number of bands or kept operator that is none.
    """
    if mask <= 0 or mask >> len(graph):
        raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {len(graph) - 1}, at least one")
    if bands < 1 or any(i < 0 or not mask >> i & 1 for i in kept):
        raise CostModelError(f"{bands} bands with {sorted(kept)} kept: at least 1 band, and operators of the group")
    return _Execution(graph, mask, accelerator, bands, set(kept), keep_timeline).result()


@dataclass(slots=True)
class _Band:
    """One tensor: the rows that are on chip, the most there ever were, and how often each crossed for this image."""

    height: int
    row_bits: int
    batch: int
    there: range = range(0)
    most: int = 0
    crossed: Counter[int] = field(default_factory=Counter)

    @property
    def held_bytes(self) -> int:
        """On chip, where every row starts at a whole byte."""
        return len(self.there) * bytes_of(self.row_bits, 1)

    def cross(self, row: int) -> int:
        """DRAM bytes of one more row, where rows lie close together."""
        before = self.crossed.total()
        self.crossed[row] += 1
        return bytes_of((before + 1) * self.row_bits, 1) - bytes_of(before * self.row_bits, 1)


class _Execution:
    def __init__(
        self, graph: OperatorGraph, mask: int, accelerator: Accelerator, bands: int, kept: set[int], keep: bool
    ) -> None:
        self.graph, self.bands, self.kept, self.keep = graph, bands, kept, keep
        self.group = [op for op in graph.operators if mask >> op.id & 1]
        inside = {op.id for op in self.group}
        self.outside = {operand for op in self.group for operand in op.inputs} - inside
        self.readers = {i: [c for c in graph.consumers[i] if c in inside] for i in inside | self.outside}
        self.written = {i for i in inside if i in graph.outputs or set(graph.consumers[i]) - inside}
        self.weights = {op.id: weight_bytes(op, accelerator) for op in self.group}
        self.part = {op.id: -(-self.weights[op.id] // output_channels(op)) for op in self.group}
        self.tensors: dict[int, _Band] = {}
        for i in sorted(inside | self.outside):
            tensor = graph.tensor(i)
            bits = tensor.row_elements * (accelerator.activation_bits or dtype_bits(tensor.dtype))
            self.tensors[i] = _Band(tensor.height, bits, tensor.batch)
        self.occupancy = self.peak = 0
        self.moved: Counter[str] = Counter()
        self.timeline: list[tuple[int, int, int]] = []

    def result(self) -> SimulationResult:
        for i in sorted(self.kept):
            self._event(self.weights[i], "weights", self.weights[i])
        for image in range(self.graph.batch):
            for tensor in self.tensors.values():
                tensor.crossed.clear()
            for band in range(self.bands):
                self._run_band(band, image)
            self._end_image(image)
        buffers = (TensorBuffer(i, t.most, t.most * bytes_of(t.row_bits, 1)) for i, t in self.tensors.items())
        return SimulationResult(
            buffer_bytes=self.peak,
            buffers=tuple(buffers),
            input_bytes=self.moved["inputs"],
            output_bytes=self.moved["outputs"],
            weight_bytes=self.moved["weights"],
            peak_occupancy_bytes=self.peak,
            timeline=tuple(self.timeline),
        )

    def _run_band(self, band: int, image: int) -> None:
        """Every operator once; what it reads from outside is loaded before, what nobody reads again goes after."""
        wanted = self._wanted(band)
        for op in self.group:
            for operand in op.inputs:
                if operand in self.outside and self.readers[operand][0] == op.id:
                    self._appear(operand, wanted[operand])
                    for row in wanted[operand]:
                        self._cross(operand, row, "inputs", image)
            self._appear(op.id, wanted[op.id])
            self._pass_weights(op.id)
            for row in wanted[op.id]:
                for operand, demand in zip(op.inputs, op.demands, strict=True):
                    first, last = demand.rows(row, self.tensors[operand].height)
                    if not set(range(first, last + 1)) <= set(self.tensors[operand].there):
                        raise CostModelError(f"operator {op.id} lacks rows {first} .. {last} of tensor {operand}")
                if op.id in self.written and self._owner(op.id, row) == band:
                    self._cross(op.id, row, "outputs", image)
            for i in {*op.inputs, op.id}:
                if not [c for c in self.readers[i] if c > op.id]:
                    self._appear(i, range(0))
        if any(tensor.there for tensor in self.tensors.values()):
            raise CostModelError(f"after band {band} something is still on chip")

    def _wanted(self, band: int) -> dict[int, range]:
        """Rows of every tensor that are there in this band: from the first to the last that is needed."""
        needed: dict[int, set[int]] = {i: set() for i in self.tensors}
        for op in reversed(self.group):
            rows = needed[op.id]
            if op.id in self.written or not self.readers[op.id]:
                rows |= {row for row in range(op.height) if self._owner(op.id, row) == band}
            for row in range(min(rows, default=0), max(rows, default=-1) + 1):
                for operand, demand in zip(op.inputs, op.demands, strict=True):
                    first, last = demand.rows(row, self.tensors[operand].height)
                    needed[operand].update(range(first, last + 1))
        return {i: range(min(rows, default=0), max(rows, default=-1) + 1) for i, rows in needed.items()}

    def _owner(self, i: int, row: int) -> int:
        """The band that a row of a result is a part of: the last to begin at or above it."""
        height = self.tensors[i].height
        return max(band for band in range(self.bands) if band * height // self.bands <= row)

    def _pass_weights(self, i: int) -> None:
        """One channel's after another, unless they are here anyway; no two sub-groups are here at a time."""
        left = 0 if i in self.kept else self.weights[i]
        while left:
            part = min(left, self.part[i])
            self._event(part, "weights", part)
            self._event(-part)
            left -= part

    def _appear(self, i: int, rows: range) -> None:
        tensor = self.tensors[i]
        before = tensor.held_bytes
        tensor.there = rows
        tensor.most = max(tensor.most, len(rows))
        self._event(tensor.held_bytes - before)

    def _cross(self, i: int, row: int, kind: str, image: int) -> None:
        moved = self.tensors[i].cross(row)
        self._event(0, kind, moved if image < self.tensors[i].batch else 0)

    def _end_image(self, image: int) -> None:
        """Rows of outside tensors that were in no band pass by; every row of a result has been written once."""
        for i in sorted(self.outside):
            for row in range(self.tensors[i].height):
                if not self.tensors[i].crossed[row]:
                    self._cross(i, row, "inputs", image)
        for i in self.written:
            if self.tensors[i].crossed != dict.fromkeys(range(self.tensors[i].height), 1):
                raise CostModelError(f"not every row of tensor {i} was written once")

    def _event(self, appeared: int, kind: str = "", moved: int = 0) -> None:
        """Bytes that come (or go, if negative) on chip, and bytes that cross."""
        self.occupancy += appeared
        self.peak = max(self.peak, self.occupancy)
        self.moved[kind] += moved
        if self.keep:
            self.timeline.append((len(self.timeline), self.occupancy, self.moved.total()))
