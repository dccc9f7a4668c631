"""StreamProgram: what the accelerator is given to execute one group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from examples.stream_accelerator.instructions import Instruction

Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class StreamProgram:
    """``instructions`` for memories of ``buffer_bytes`` and ``accumulator_bytes``; ``weights`` are the weights in DRAM.

    ``inputs`` and ``results`` are (rows, row axis) of the tensors in DRAM: axis None is one row.
    """

    symbol: str
    instructions: tuple[Instruction, ...]
    weights: tuple[Array, ...]
    inputs: tuple[tuple[int, int | None], ...]
    results: tuple[tuple[int, int | None], ...]
    buffer_bytes: int
    accumulator_bytes: int

    def listing(self) -> Iterator[str]:
        """The program as assembler text, line by line."""
        yield f"; {self.symbol}: {len(self.instructions)} instructions"
        yield f"; buffer {self.buffer_bytes} bytes (b:), accumulators {self.accumulator_bytes} bytes (a:)"
        yield from map(str, self.instructions)
