"""The instructions of the accelerator: each moves or makes one row of float32 elements.

A row lies as its tensor has it with the row axis taken out: channel after channel, (channels, width).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True, slots=True)
class Address:
    """A byte in the on-chip buffer or, for sums, in the accumulator memory."""

    memory: str
    offset: int

    def __str__(self) -> str:
        return f"{self.memory[0]}:{self.offset:#07x}"


@dataclass(frozen=True, slots=True)
class Instruction:
    """What all instructions have in common: their text, one line of assembler."""

    def __str__(self) -> str:
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(self).__name__).upper()
        return f"{name:<12} " + " ".join(f"{f.name}={_text(getattr(self, f.name))}" for f in fields(self))


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(_text(part) for part in value)
    return "-" if value is None else str(value)


@dataclass(frozen=True, slots=True)
class LoadWeight(Instruction):
    """The whole of a weight from DRAM."""

    to: Address
    weight: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class LoadRow(Instruction):
    """A row of input ``tensor`` from DRAM."""

    to: Address
    tensor: int
    row: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class StoreRow(Instruction):
    """A row of result ``tensor`` to DRAM."""

    source: Address
    tensor: int
    row: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class ConvRow(Instruction):
    """A row of a convolution from one input row for each row of the kernel (None: padding)."""

    to: Address
    sources: tuple[Address | None, ...]
    weight: Address
    bias: Address | None
    channels: tuple[int, int]  # in, out
    width: tuple[int, int]  # in, out
    kernel_width: int
    stride: int
    padding: int
    dilation: int
    groups: int


@dataclass(frozen=True, slots=True)
class PoolRow(Instruction):
    """A row of a max pooling, as ConvRow reads it."""

    to: Address
    sources: tuple[Address | None, ...]
    channels: int
    width: tuple[int, int]
    kernel_width: int
    stride: int
    padding: int
    dilation: int


@dataclass(frozen=True, slots=True)
class EltwiseRow(Instruction):
    """``function`` of one or two rows of ``elements``; ``bounds`` are those of "clip"."""

    to: Address
    function: str
    sources: tuple[Address, ...]
    elements: int
    bounds: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class AddToSums(Instruction):
    """The sum over the width of a row, added to one sum a channel; ``start``: the sums begin at 0."""

    to: Address
    source: Address
    channels: int
    width: int
    start: bool


@dataclass(frozen=True, slots=True)
class ScaleSums(Instruction):
    """A row of one element a channel: the sums times ``scale``."""

    to: Address
    source: Address
    channels: int
    scale: float


@dataclass(frozen=True, slots=True)
class DenseRow(Instruction):
    """A row times a matrix of (inputs, outputs)."""

    to: Address
    source: Address
    weight: Address
    bias: Address | None
    elements: tuple[int, int]  # in, out
