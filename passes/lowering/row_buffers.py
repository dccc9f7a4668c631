"""RowBuffers: where every tensor of a group lives on chip, and how its elements are addressed there."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from tvm import tirx

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.graph.operator import Tensor
from tvm_fusion.passes.lowering.expressions import index, simplified
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.row_homes import row_homes

# Rows that the cost model holds for nobody: what an operator adds up, and a second operand computed in place.
ACCUMULATOR_SCOPE = "global.accumulator"
DEFAULT_SCOPE = "global.sram"
# Single values and vectors that live in registers.
REGISTER_SCOPE = "local"


@dataclass(frozen=True)
class RowBuffer:
    """Rows laid out as those of ``tensor``: ``buffer[row % lines, element of the row]``."""

    buffer: Any
    lines: int
    tensor: Tensor

    def at(self, shape: tuple[int, ...], indices: list[Any], image: Any) -> tuple[Any, Any]:
        """Where the element at ``indices`` of the tensor, or of a view that has ``shape``, lies.

        Raises NotLowered if it belongs to another image than ``image``: one image at a time is on chip.
        """
        if self.tensor.batch > 1 and (shape[:1] != (self.tensor.batch,) or not indices[0].same_as(image)):
            raise NotLowered("", f"it mixes the {self.tensor.batch} images of a batch")
        return self.at_row(*element_of(self.tensor, shape, indices))

    def at_row(self, row: Any, element: Any) -> tuple[Any, Any]:
        """Where an element of a row lies."""
        return simplified(row % index(self.lines)), element


class RowBuffers:
    """Buffers of the rows of a group's tensors, where :func:`row_homes` puts them, with the lines of the cost model."""

    def __init__(self, group: Group, scope: str = DEFAULT_SCOPE) -> None:
        graph = group.graph
        self.cost = LineBufferModel(graph, OWN_WIDTHS).cost(group.everything)
        self.lines = {buffer.tensor: buffer.lines for buffer in self.cost.buffers}
        self.allocated: list[Any] = []
        self._of: dict[int, RowBuffer] = {}
        for i, home in row_homes(graph, self.lines).items():
            tensor = graph.tensor(i)
            self._of[i] = (
                self._allocate(home.name, tensor, home.lines, ACCUMULATOR_SCOPE if home.beside else scope)
                if home.owner == i
                else self._of[home.owner]
            )

    def of(self, operand: int) -> RowBuffer:
        """Where a tensor's rows are."""
        return self._of[operand]

    def scratch(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        """A new buffer in the accumulator scope."""
        buffer = tirx.decl_buffer([index(size) for size in shape], dtype, name=name, scope=ACCUMULATOR_SCOPE)
        self.allocated.append(buffer)
        return buffer

    def on_chip(self, name: str, elements: int, dtype: str, scope: str) -> Any:
        """A new flat buffer, for a weight."""
        buffer = tirx.decl_buffer([index(elements)], dtype, name=name, scope=scope)
        self.allocated.append(buffer)
        return buffer

    def _allocate(self, name: str, tensor: Tensor, lines: int, scope: str) -> RowBuffer:
        shape = [index(lines), index(tensor.row_elements)]
        buffer = tirx.decl_buffer(shape, tensor.dtype, name=name, scope=scope)
        self.allocated.append(buffer)
        return RowBuffer(buffer, lines, tensor)


def element_of(tensor: Tensor, shape: tuple[int, ...], indices: list[Any]) -> tuple[Any, Any]:
    """(row, element of the row) of ``tensor`` at ``indices`` of one of its views, which has ``shape``.

    A row lies on chip with its channels together: what varies along the row first, then what stands before the rows
    in the shape. The batch is the first axis where there are several images, and a view of another shape is one row.
    """
    if shape != tensor.shape:
        places = flat(list(shape[tensor.batch > 1 :]), indices[tensor.batch > 1 :])
        inner = tensor.shape[tensor.batch > 1 :]
        strides = [math.prod(inner[axis + 1 :]) for axis in range(len(inner))]
        parts = [places // index(step) % index(size) for step, size in zip(strides, inner, strict=True)]
        indices = [index(0)] * (tensor.batch > 1) + parts
    axes = element_axes(tensor)
    row = index(0) if tensor.row_axis is None or tensor.height == 1 else indices[tensor.row_axis]
    return row, flat([tensor.shape[axis] for axis in axes], [indices[axis] for axis in axes])


def element_axes(tensor: Tensor) -> list[int]:
    """Axes of a row's elements as they lie on chip, the last one closest together."""
    rank = len(tensor.shape)
    axes = [axis for axis in range(rank) if axis != tensor.row_axis and not (axis == 0 and tensor.batch > 1)]
    return sorted(axes, key=lambda axis: tensor.row_axis is not None and axis < tensor.row_axis)


def flat(shape: list[int], indices: list[Any]) -> Any:
    """The offset of ``indices`` in a row-major array."""
    offset = index(0)
    for axis, place in enumerate(indices):
        offset = offset + place * index(math.prod(shape[axis + 1 :]))
    return simplified(offset)
