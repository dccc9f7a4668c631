"""The facts of one operator and of one network input, free of TVM."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from tvm_fusion.graph.demand import RowDemand


@dataclass(frozen=True, slots=True)
class Window:
    """A sliding window: sizes as (height, width), padding as (top, left, bottom, right)."""

    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    dilation: tuple[int, int] = (1, 1)

    def to_json(self) -> dict[str, list[int]]:
        """The window as the JSON of ``tvm-fusion graph``."""
        names = ("kernel", "stride", "padding", "dilation")
        return {name: list(getattr(self, name)) for name in names}


@dataclass(frozen=True, slots=True)
class Tensor:
    """A network input or an operator's result.

    ``shape`` is the network's own, batch included. ``row_axis`` is the dimension whose indices are
    the rows (None: the tensor is one row). ``batch`` images lie in it one after another; height and
    row_elements are per image.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    row_axis: int | None = None
    batch: int = 1

    @property
    def height(self) -> int:
        """Rows of one image."""
        return 1 if self.row_axis is None else self.shape[self.row_axis]

    @property
    def elements(self) -> int:
        """Elements of one image."""
        return -(-math.prod(self.shape) // self.batch)

    @property
    def row_elements(self) -> int:
        """Elements of one row."""
        return self.elements // max(1, self.height)


@dataclass(frozen=True, slots=True)
class Operator(Tensor):
    """One operator and the tensor that it makes.

    ``inputs`` are operands: an operator's id, or ``-(k+1)`` for the network's k-th input; an operand
    stands once even if the operator reads it twice. ``demands`` has one entry for each of them.
    ``pointwise``: every output element depends on the same element of its operands (or on a
    broadcast one) and on per-channel constants only. ``macs`` are per image. ``weight_bytes`` is there
    where the weights are not all of ``weight_dtype``: their bytes, each in its own dtype.
    """

    id: int = 0
    type: str = "unknown"
    inputs: tuple[int, ...] = ()
    demands: tuple[RowDemand, ...] = ()
    weight_elements: int = 0
    weight_dtype: str = "float32"
    weight_bytes: int | None = None
    macs: int = 0
    window: Window | None = None
    pointwise: bool = False
    attributes: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)
