"""Window: what a kernel must know of a convolution or a matrix product with constant weights."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tvm.ir.expr import TensorLoad, Var
from tvm.ir.prim import expr as prim

from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import as_int, chooses, loads, parts
from tvm_fusion.passes.relax_tools import ints, op_name, shape_of


@dataclass(frozen=True)
class Axis:
    """Rows or columns of a convolution: sizes, and where its window stands."""

    size: int = 1
    input_size: int = 1
    kernel: int = 1
    stride: int = 1
    dilation: int = 1
    padding: int = 0

    def inside(self, place: int, tap: int) -> bool:
        """Whether a tap of the window at ``place`` lies in the input."""
        return 0 <= place * self.stride + tap * self.dilation - self.padding < self.input_size

    @property
    def single(self) -> bool:
        """Whether every place reads just its own."""
        return self.kernel == self.stride == 1 and not self.padded

    @property
    def padded(self) -> bool:
        """Whether any tap lies outside of the input."""
        last = (self.size - 1) * self.stride + (self.kernel - 1) * self.dilation - self.padding
        return self.padding > 0 or last >= self.input_size


@dataclass(frozen=True)
class Window:
    """Sums of ``product`` over ``channels`` input channels of a group and the taps of rows and columns.

    ``block`` is the block of the sums, ``weight`` the parameter of the weights with the axes ``weight_axes`` of
    (output channel, row tap, column tap, input channel), -1 where it has none. ``channel_axis`` and ``column_axis`` are
    axes of the result, ``taps`` the variables of the sums over input channels, rows and columns (None: of extent 1).
    """

    block: Block
    product: Any
    weight: Any
    weight_axes: tuple[int, int, int, int]
    groups: int
    outputs: int
    inputs: int
    rows: Axis
    columns: Axis
    image_axis: int | None
    channel_axis: int
    column_axis: int | None
    taps: tuple[Any, Any, Any]

    @property
    def depthwise(self) -> bool:
        """Whether every channel is a group of its own."""
        return self.groups > 1 and self.outputs == self.inputs == 1


def window_of(bindings: Sequence[tuple[Any, Any]], blocks: Sequence[Block], operator: Operator) -> Window | None:
    """The window of an operator that computes ``bindings`` by ``blocks``, or None if it is of another kind."""
    calls = [value for _, value in bindings if op_name(value) in ("nn.conv2d", "matmul")]
    block = blocks[0]
    if len(calls) != 1 or len(blocks) > 2 or [int(size) for size in block.buffer.shape] != list(shape_of(calls[0])):
        return None
    starts_from_zero = getattr(block.init, "value", None) == 0
    adds = isinstance(block.value, prim.Add) and _reads(block.value.a, block.buffer)
    if not (starts_from_zero and adds) or (len(blocks) == 2 and not _follows_in_place(block, blocks[1])):
        return None
    return (_convolution if op_name(calls[0]) == "nn.conv2d" else _product)(calls[0], block, operator)


def _convolution(call: Any, block: Block, operator: Operator) -> Window | None:
    attrs = call.attrs
    if str(attrs.data_layout) != "NCHW" or str(attrs.kernel_layout) != "OIHW":
        return None
    (images, _, height, width), (out, inputs, *kernel) = shape_of(call.args[0]), shape_of(call.args[1])
    _, _, *size = shape_of(call)
    one_row = operator.height == 1 and size[0] == 1
    if images != operator.batch or not (one_row or operator.row_axis == 2):  # rows may lie along the width
        return None
    places = zip(size, (height, width), kernel, ints(attrs.strides), ints(attrs.dilation), strict=True)
    rows, columns = (Axis(*place, padding) for place, padding in zip(places, ints(attrs.padding)[:2], strict=True))
    taps = _taps(block, [inputs, *kernel])
    factors = _factors(block, rows.padded or columns.padded, rank=4)
    if taps is None or factors is None:
        return None
    groups = int(attrs.groups)
    image_axis = 0 if operator.batch > 1 else None
    return Window(
        block, *factors, (0, 2, 3, 1), groups, out // groups, inputs, rows, columns, image_axis, 1, 3, taps
    )  # fmt: skip


def _product(call: Any, block: Block, operator: Operator) -> Window | None:
    """A matrix product: what lies along a row before the last axis are columns."""
    shape = shape_of(call)
    inputs = shape_of(call.args[0])[-1]
    taps = _taps(block, [inputs])
    factors = _factors(block, padded=False, rank=2)
    row_axis = operator.row_axis if operator.height > 1 else None
    image_axis = 0 if operator.batch > 1 else None
    free = [axis for axis, size in enumerate(shape[:-1]) if size > 1 and axis not in (row_axis, image_axis)]
    if taps is None or factors is None or len(free) > 1 or row_axis == len(shape) - 1 or image_axis == len(shape) - 1:
        return None
    product, weight = factors
    transposed = taps[0] is not None and loads(product, weight)[0][1].same_as(taps[0])
    axes = (0, -1, -1, 1) if transposed else (1, -1, -1, 0)
    width = shape[free[0]] if free else 1
    columns = Axis(width, width)
    column_axis = free[0] if free else None
    places = image_axis, len(shape) - 1, column_axis
    return Window(block, product, weight, axes, 1, shape[-1], inputs, Axis(), columns, *places, taps)


def _taps(block: Block, extents: list[int]) -> tuple[Any, Any, Any] | None:
    """Variables of the sums over input channels, rows and columns of the window, in this order."""
    left = list(block.reduce)
    found: list[Any] = []
    for extent in extents:
        if extent == 1:
            found.append(None)
        elif left and left[0][1] == extent:
            found.append(left.pop(0)[0])
        else:
            return None
    found += [None] * (3 - len(found))
    return None if left else (found[0], found[1], found[2])


def _factors(block: Block, padded: bool, rank: int) -> tuple[Any, Any] | None:
    """The product without its test for padding, and the parameter of the weights; None for another form."""
    product = block.value.b
    if not isinstance(product, prim.Mul):
        return None
    a, b = _uncast(product.a), _uncast(product.b)
    if not isinstance(b, TensorLoad) or len(b.indices) != rank or not _places_alone(b):
        return None
    if chooses(a):
        if getattr(a.args[2], "value", None) != 0:
            return None
        inner = a.args[1]
        left = prim.Cast(product.a.ty, inner) if isinstance(product.a, prim.Cast) else inner
        product = prim.Mul(left, product.b)
    elif padded:
        return None
    if any(chooses(part) for part in parts(product)):
        return None
    return product, b.source


def _follows_in_place(block: Block, last: Block) -> bool:
    """Whether ``last`` reads the sums just where it writes, so that it may follow while they are in registers."""
    found = loads(last.value, block.buffer)
    if last.init is not None or not found or len(last.indices) != len(block.indices):
        return False
    return all(_same(place, own) for places in found for place, own in zip(places, last.indices, strict=True))


def _same(a: Any, b: Any) -> bool:
    return bool(a.same_as(b)) or (as_int(a) is not None and as_int(a) == as_int(b))


def _uncast(expr: Any) -> Any:
    return expr.value if isinstance(expr, prim.Cast) else expr


def _reads(expr: Any, buffer: Any) -> bool:
    return isinstance(expr, TensorLoad) and expr.source.same_as(buffer)


def _places_alone(load: Any) -> bool:
    """Whether every index is one variable or a constant."""
    return all(isinstance(place, Var) or as_int(place) is not None for place in load.indices)
