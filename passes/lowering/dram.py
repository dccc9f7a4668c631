"""DramTensor: a tensor of a group in DRAM, and where its elements lie there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes.lowering.expressions import index, simplified
from tvm_fusion.passes.lowering.row_buffers import element_of, flat


@dataclass(frozen=True)
class DramTensor:
    """``buffer`` has the shape of the tensor or of a view of it, or, ``by_rows``, is (image, row, element of the row).

    By rows a tensor lies as it does on chip, channels closest together: between lowered functions, which alone read it.
    """

    buffer: Any
    tensor: Tensor
    by_rows: bool

    def at(self, shape: tuple[int, ...], indices: list[Any], image: Any) -> list[Any]:
        """Where the element at ``indices`` of the tensor, or of a view that has ``shape``, lies."""
        if self.by_rows:
            row, element = element_of(self.tensor, shape, indices)
            own = indices[0] if self.tensor.batch > 1 else index(0)
            return [own if shape[:1] == self.tensor.shape[:1] else image, simplified(row), element]
        own_shape = [int(size) for size in self.buffer.shape]
        if list(shape) == own_shape:
            return indices
        place = flat(list(shape), indices)
        steps = [math.prod(own_shape[axis + 1 :]) for axis in range(len(own_shape))]
        return [simplified(place // index(step) % index(size)) for step, size in zip(steps, own_shape, strict=True)]


def rows_shape(tensor: Tensor) -> tuple[int, int, int]:
    """(images, rows, elements of a row)."""
    return tensor.batch, tensor.height, tensor.row_elements


def parameter(name: str, shape: tuple[int, ...], dtype: str) -> Any:
    """A buffer for a parameter of a PrimFunc."""
    return tirx.decl_buffer([index(size) for size in shape], dtype, name=name)
