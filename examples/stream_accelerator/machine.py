"""Machine: executes a program on memories of exactly its sizes and counts what crosses from and to DRAM."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from examples.stream_accelerator.instructions import (
    Address,
    AddToSums,
    ConvRow,
    DenseRow,
    EltwiseRow,
    LoadRow,
    LoadWeight,
    PoolRow,
    ScaleSums,
    StoreRow,
)
from examples.stream_accelerator.program import Array, StreamProgram

FUNCTIONS: dict[str, Callable[..., Array]] = {
    "relu": lambda a: np.maximum(a, 0),
    "sigmoid": lambda a: 1 / (1 + np.exp(-a)),
    "tanh": np.tanh,
    "add": np.add,
    "subtract": np.subtract,
    "multiply": np.multiply,
}


class OutsideError(Exception):
    """An instruction touched a byte that a memory does not have."""


class Machine:
    """One execution of a program; ``input_bytes``, ``weight_bytes`` and ``output_bytes`` crossed so far."""

    def __init__(self, program: StreamProgram) -> None:
        self.program = program
        self.memory = {
            "buffer": np.zeros(program.buffer_bytes, np.uint8),
            "accumulator": np.zeros(program.accumulator_bytes, np.uint8),
        }
        self.input_bytes = self.weight_bytes = self.output_bytes = 0
        self._execute: dict[type, Callable[[Any], None]] = {
            LoadWeight: self._load_weight,
            LoadRow: self._load_row,
            StoreRow: self._store_row,
            ConvRow: self._conv,
            PoolRow: self._pool,
            EltwiseRow: self._eltwise,
            AddToSums: self._add_to_sums,
            ScaleSums: self._scale_sums,
            DenseRow: self._dense,
        }

    def run(self, inputs: Sequence[Array], results: Sequence[Array]) -> None:
        """Execute all instructions on tensors in DRAM; ``results`` are written. Raises OutsideError."""
        self.inputs, self.results = inputs, results
        for instruction in self.program.instructions:
            self._execute[type(instruction)](instruction)

    def _at(self, address: Address, *shape: int) -> Array:
        """The elements from an address on, which can be written."""
        memory = self.memory[address.memory]
        end = address.offset + 4 * int(np.prod(shape))
        if address.offset < 0 or end > memory.size:
            raise OutsideError(
                f"bytes {address.offset} .. {end - 1} of the {address.memory} memory, which has {memory.size}"
            )
        return memory[address.offset : end].view(np.float32).reshape(shape)

    def _dram_row(self, tensor: Array, facts: tuple[int, int | None], row: int) -> Any:
        """Row ``row`` of a tensor in DRAM; one row may have the shape of a view."""
        height, axis = facts
        if axis is None or height == 1:
            return tensor
        return tensor[(slice(None),) * axis + (row,)]

    def _load_weight(self, i: LoadWeight) -> None:
        weight = self.program.weights[i.weight].reshape(-1)
        self._at(i.to, weight.size)[:] = weight
        self.weight_bytes += i.size_bytes

    def _load_row(self, i: LoadRow) -> None:
        row = self._dram_row(self.inputs[i.tensor], self.program.inputs[i.tensor], i.row)
        self._at(i.to, i.size_bytes // 4)[:] = row.reshape(-1)
        self.input_bytes += row.size * 4

    def _store_row(self, i: StoreRow) -> None:
        row = self._dram_row(self.results[i.tensor], self.program.results[i.tensor], i.row)
        row[...] = self._at(i.source, i.size_bytes // 4).reshape(row.shape)
        self.output_bytes += row.size * 4

    def _windows(self, i: ConvRow | PoolRow, channels: int, border: float) -> Array:
        """What each place of the kernel sees: (channels, kernel rows, kernel columns, columns of the result)."""
        width, columns = i.width
        reach = (columns - 1) * i.stride + (i.kernel_width - 1) * i.dilation + 1
        rows = np.full((channels, len(i.sources), max(reach, i.padding + width)), border, np.float32)
        for k, source in enumerate(i.sources):
            if source is not None:
                rows[:, k, i.padding : i.padding + width] = self._at(source, channels, width)
        kernel = np.arange(i.kernel_width) * i.dilation
        return rows[:, :, kernel[:, None] + np.arange(columns)[None] * i.stride]

    def _conv(self, i: ConvRow) -> None:
        inside, outside = i.channels
        seen = self._windows(i, inside, 0.0)
        columns = i.width[1]
        each = inside // i.groups * len(i.sources) * i.kernel_width
        kernel = self._at(i.weight, i.groups, outside // i.groups, each)
        made = (kernel @ seen.reshape(i.groups, each, columns)).reshape(outside, columns)
        if i.bias is not None:
            made = made + self._at(i.bias, outside, 1)
        self._at(i.to, outside, columns)[:] = made

    def _pool(self, i: PoolRow) -> None:
        self._at(i.to, i.channels, i.width[1])[:] = self._windows(i, i.channels, -np.inf).max(axis=(1, 2))

    def _eltwise(self, i: EltwiseRow) -> None:
        rows = [self._at(source, i.elements) for source in i.sources]
        made = np.clip(rows[0], *i.bounds) if i.bounds is not None else FUNCTIONS[i.function](*rows)
        self._at(i.to, i.elements)[:] = made

    def _add_to_sums(self, i: AddToSums) -> None:
        sums = self._at(i.to, i.channels)
        row = self._at(i.source, i.channels, i.width).sum(axis=1)
        sums[:] = row if i.start else sums + row

    def _scale_sums(self, i: ScaleSums) -> None:
        self._at(i.to, i.channels)[:] = self._at(i.source, i.channels) * np.float32(i.scale)

    def _dense(self, i: DenseRow) -> None:
        inside, outside = i.elements
        made = self._at(i.source, inside) @ self._at(i.weight, inside, outside)
        self._at(i.to, outside)[:] = made if i.bias is None else made + self._at(i.bias, outside)
