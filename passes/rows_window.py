"""Row demands of convolutions, transposed convolutions, pooling and resizing."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvm_fusion.graph.demand import ACCUMULATE, RowDemand
from tvm_fusion.graph.operator import Window
from tvm_fusion.passes.relax_tools import ints, is_constant, op_name, shape_of
from tvm_fusion.passes.row_facts import RowAxes, RowFacts, conservative, rule, table, whole

_SPATIAL = {1: "W", 2: "HW", 3: "DHW"}


def _rank(name: str) -> int:
    return next(rank for rank in (1, 2, 3) if f"{rank}d" in name)


def _layout(call: Any) -> str:
    return str(getattr(call.attrs, "data_layout", "") or call.attrs.layout)


def slides(call: Any) -> bool:
    """Whether an operator's layout names the axes that a window slides along."""
    attrs = getattr(call, "attrs", None)
    has_layout = hasattr(attrs, "layout") or hasattr(attrs, "data_layout")
    return has_layout and any(f"{rank}d" in op_name(call) for rank in _SPATIAL)


def spatial_row_axis(call: Any) -> int:
    """Axis that a windowed operator slides along first: the rows."""
    return _layout(call).index(_SPATIAL[_rank(op_name(call))][0])


def _padding(call: Any, rank: int) -> tuple[int, ...]:
    padding = ints(call.attrs.padding)
    if len(padding) == 1:
        return padding * (2 * rank)
    return padding * 2 if len(padding) == rank else padding


def _pairs(values: tuple[int, ...], rank: int, neutral: int) -> tuple[int, int]:
    """(height, width) of a per-axis attribute."""
    values = values * rank if len(values) == 1 else values
    return (values[0], values[1]) if rank == 2 else (values[0], neutral)


def _window(call: Any, kernel: tuple[int, ...]) -> Window:
    rank = _rank(op_name(call))
    padding = _padding(call, rank)
    pad = padding if rank == 2 else (padding[0], 0, padding[rank], 0)
    return Window(
        kernel=_pairs(kernel, rank, 1),
        stride=_pairs(ints(call.attrs.strides), rank, 1),
        padding=(pad[0], pad[1], pad[2], pad[3]),
        dilation=_pairs(ints(call.attrs.dilation), rank, 1),
    )


def _slide(call: Any, kernel: tuple[int, ...], axis: int) -> RowDemand:
    """The window's demand along ``axis``, whichever spatial axis the rows are."""
    rank = _rank(op_name(call))
    place = _SPATIAL[rank].index(_layout(call)[axis])
    values = [_each(ints(given), rank)[place] for given in (call.attrs.strides, call.attrs.dilation)]
    return RowDemand("window", kernel[place], values[0], _padding(call, rank)[place], values[1])


def _each(values: tuple[int, ...], rank: int) -> tuple[int, ...]:
    return values * rank if len(values) == 1 else values


def _row_axis(call: Any, x: Any, axes: RowAxes) -> int | None:
    """The operand's own rows if they are a spatial axis, the first spatial axis if it is one row, else None."""
    axis = axes.axis(x)
    if axis is None:
        return spatial_row_axis(call)
    return axis if _layout(call)[axis] in _SPATIAL[_rank(op_name(call))] else None


def _kernel(call: Any) -> tuple[tuple[int, ...], int]:
    """Spatial sizes of a convolution's weight and its elements an output channel."""
    layout, shape = str(call.attrs.kernel_layout), shape_of(call.args[1])
    spatial = tuple(shape[layout.index(c)] for c in _SPATIAL[_rank(op_name(call))])
    return spatial, math.prod(shape)


@rule("nn.conv1d", "nn.conv2d", "nn.conv3d")
def convolution(call: Any, axes: RowAxes) -> RowFacts:
    """Grouped, depthwise, dilated and asymmetrically padded ones alike."""
    x = call.args[0]
    axis = _row_axis(call, x, axes)
    name = op_name(call)
    if not is_constant(call.args[1]) or axis is None:
        return conservative(call, axes)
    kernel, elements = _kernel(call)
    layout = str(call.attrs.kernel_layout)
    out_channels = shape_of(call.args[1])[layout.index("O")]
    window = _window(call, kernel)
    macs = math.prod(shape_of(call)) // axes.batch * (elements // out_channels)
    groups, channels = int(call.attrs.groups), shape_of(x)[_layout(call).index("C")]
    type_ = f"depthwise_{name[3:]}" if groups == channels > 1 else name[3:]
    demand = _slide(call, kernel, axis) if axes.axis(x) == axis else whole(1)
    return RowFacts(type_, axis, {x: demand}, window if "3d" not in name else None, macs=macs)


@rule("nn.conv1d_transpose", "nn.conv2d_transpose", "nn.conv3d_transpose")
def transposed_convolution(call: Any, axes: RowAxes) -> RowFacts:
    """Input row i reaches output rows i * stride - padding + k * dilation."""
    x, axis = call.args[0], spatial_row_axis(call)
    if not is_constant(call.args[1]) or axes.axis(x) not in (axis, None):
        return conservative(call, axes)
    kernel, elements = _kernel(call)
    window, height = _window(call, kernel), shape_of(x)[axis]
    stride, pad, dilation = window.stride[0], window.padding[0], window.dilation[0]
    pairs = []
    for row in range(shape_of(call)[axis]):
        touched = [
            (row + pad - k * dilation) // stride
            for k in range(window.kernel[0])
            if (row + pad - k * dilation) % stride == 0 and 0 <= (row + pad - k * dilation) // stride < height
        ]
        pairs.append((min(touched), max(touched)) if touched else (0, -1))
    layout = str(call.attrs.kernel_layout)
    in_channels = shape_of(call.args[1])[layout.index("I")]
    macs = math.prod(shape_of(x)) // axes.batch * (elements // in_channels)
    return RowFacts(op_name(call)[3:], axis, {x: table(pairs, height)}, window, macs=macs)


@rule("nn.max_pool1d", "nn.max_pool2d", "nn.max_pool3d", "nn.avg_pool1d", "nn.avg_pool2d", "nn.avg_pool3d")
def pooling(call: Any, axes: RowAxes) -> RowFacts:
    """A pooling window; one that covers every row at once accumulates."""
    x = call.args[0]
    axis = _row_axis(call, x, axes)
    if axis is None:
        return conservative(call, axes)
    kernel = _each(ints(call.attrs.pool_size), _rank(op_name(call)))
    window = _window(call, kernel)
    demand = _slide(call, kernel, axis)
    if (
        shape_of(call)[axis] == 1
        and demand.rows(0, shape_of(x)[axis]) == (0, shape_of(x)[axis] - 1)
        and demand.dilation == 1
    ):
        demand = ACCUMULATE if shape_of(x)[axis] > 1 else demand
    type_ = op_name(call)[3:]
    if axes.axis(x) is None:
        demand = whole(1)
    return RowFacts(type_, axis, {x: demand}, window if "3d" not in type_ else None)


@rule("nn.adaptive_avg_pool1d", "nn.adaptive_avg_pool2d", "nn.adaptive_avg_pool3d")
def adaptive_pooling(call: Any, axes: RowAxes) -> RowFacts:
    """Output row r averages rows floor(r*H/h) .. ceil((r+1)*H/h) - 1."""
    x, axis = call.args[0], spatial_row_axis(call)
    if axes.axis(x) not in (axis, None):
        return conservative(call, axes)
    height, rows = shape_of(x)[axis], shape_of(call)[axis]
    if rows == 1:
        return RowFacts("avg_pool2d", axis, {x: ACCUMULATE if axes.height(x) > 1 else whole(1)})
    pairs = [(r * height // rows, -(-(r + 1) * height // rows) - 1) for r in range(rows)]
    return RowFacts("adaptive_avg_pool2d", axis, {x: table(pairs, height)})


@rule("image.resize2d")
def resize(call: Any, axes: RowAxes) -> RowFacts:
    """Rows that nearest, linear or cubic interpolation reads."""
    x = call.args[0]
    axis = str(call.attrs.layout).index("H")
    if axes.axis(x) not in (axis, None):
        return conservative(call, axes)
    height, rows = shape_of(x)[axis], shape_of(call)[axis]
    if axes.axis(x) is None or height == 1:
        return RowFacts("resize2d", axis, {x: whole(1)})
    method = str(call.attrs.method)
    before, after = {"nearest_neighbor": (0, 0), "linear": (0, 1), "cubic": (1, 2)}.get(method, (height, height))
    pairs = []
    for row in range(rows):
        place = _source_place(row, height, rows, str(call.attrs.coordinate_transformation_mode))
        base = _nearest(place, str(call.attrs.rounding_method)) if method == "nearest_neighbor" else math.floor(place)
        clipped = [min(height - 1, max(0, base + k)) for k in (-before, after)]
        pairs.append((clipped[0], clipped[1]))
    return RowFacts("resize2d", axis, {x: table(pairs, height)})


def _source_place(row: int, height: int, rows: int, mode: str) -> float:
    """Where output row ``row`` lies among the operand's, in float32 as TVM computes it: at a whole row it matters."""
    one, half, place = np.float32(1), np.float32(0.5), np.float32(row)
    scale = np.float32(height) / np.float32(rows)
    if rows == 1 and mode in ("align_corners", "pytorch_half_pixel"):
        place *= 0
    elif mode == "align_corners":
        place *= (np.float32(height) - one) / (np.float32(rows) - one)
    elif mode == "asymmetric":
        place *= scale
    elif mode == "tf_half_pixel_for_nn":
        place = (place + half) * scale
    else:
        place = (place + half) * scale - half
    return float(place)


def _nearest(place: float, rounding: str) -> int:
    epsilon = 1e-5
    if rounding == "floor":
        return math.floor(place + epsilon)
    if rounding == "ceil":
        return math.ceil(place - epsilon)
    if rounding == "round_prefer_floor":
        return math.ceil(place - 0.5)
    if rounding == "round_prefer_ceil":
        return math.floor(place + 0.5)
    return round(place)  # halves to the even row, as TVM's round does
