"""Row demands of operators that move elements: reshape, permute, concat, slice, pad, take."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tvm_fusion.graph.demand import ALL, ROW, SINGLE, RowDemand
from tvm_fusion.passes.relax_tools import constant_array, ints, is_constant, op_name, shape_of
from tvm_fusion.passes.row_facts import (
    RowAxes,
    RowFacts,
    conservative,
    default_row_axis,
    rule,
    table,
    tensor_operands,
    whole,
)

# Index arithmetic above this many distinct places is not worth its time; the answer is then "all rows".
_MOST_PLACES = 1 << 22


@rule("reshape", "expand_dims", "squeeze", "flatten", "nn.batch_flatten")
def reshape(call: Any, axes: RowAxes) -> RowFacts:
    """The result's row axis is the one that needs the fewest bytes held for a row."""
    x, shape = call.args[0], shape_of(call)
    name = op_name(call).removeprefix("nn.")
    axis, height = axes.axis(x), axes.height(x)
    if axis is None or height == 1:
        row_axis = default_row_axis(shape)
        if row_axis is not None and shape[row_axis] > 1 and len(shape) == len(shape_of(x)) + 1 and axis is not None:
            row_axis = None
        return RowFacts(name, row_axis, {x: SINGLE})
    best: tuple[int, int, RowDemand] | None = None
    first_axis = 1 if axes.batch > 1 else 0
    for candidate in range(first_axis, len(shape)):
        pairs = _moved_rows(shape_of(x), axis, shape, candidate) if shape[candidate] > 1 else None
        if pairs is None:
            continue
        span = max(last - first + 1 for first, last in pairs)
        held = span * (math.prod(shape) // height) + math.prod(shape) // shape[candidate]
        if span < height and (best is None or held < best[0]):
            best = (held, candidate, table(pairs, height))
    if best is None:
        row_axis = default_row_axis(shape)
        return RowFacts(name, row_axis, {x: ALL})
    return RowFacts(name, best[1], {x: best[2]})


def _moved_rows(
    before: tuple[int, ...], axis: int, after: tuple[int, ...], new_axis: int
) -> list[tuple[int, int]] | None:
    """For every row of the new shape the first and last old row that its elements come from."""
    old_stride, new_stride = math.prod(before[axis + 1 :]), math.prod(after[new_axis + 1 :])
    step = math.gcd(old_stride, new_stride)
    places = math.prod(before) // step
    if places > _MOST_PLACES:
        return None
    index = np.arange(places, dtype=np.int64) * step
    old, new = index // old_stride % before[axis], index // new_stride % after[new_axis]
    first, last = np.full(after[new_axis], before[axis]), np.full(after[new_axis], -1)
    np.minimum.at(first, new, old)
    np.maximum.at(last, new, old)
    return list(zip(first.tolist(), last.tolist(), strict=True))


@rule("permute_dims")
def permute(call: Any, axes: RowAxes) -> RowFacts:
    """The rows go where their axis goes."""
    x = call.args[0]
    rank = len(shape_of(x))
    order = ints(call.attrs.axes) if call.attrs.axes is not None else tuple(reversed(range(rank)))
    order = tuple(axis % rank for axis in order)
    axis = axes.axis(x)
    new_axis = None if axis is None else order.index(axis)
    return RowFacts("permute", new_axis, {x: ROW if axes.height(x) > 1 else SINGLE})


@rule("concat")
def concat(call: Any, axes: RowAxes) -> RowFacts:
    """Along the rows each operand gives its own stretch; otherwise row r of each."""
    fields = list(getattr(call.args[0], "fields", []))
    operands = tensor_operands(call)
    shape = shape_of(call)
    axis = 0 if call.attrs.axis is None else int(call.attrs.axis) % len(shape)
    tall = [axes.axis(var) for var in operands if axes.height(var) > 1]
    row_axis = tall[0] if tall else next((axes.axis(v) for v in operands if axes.axis(v) is not None), None)
    if not fields or any(axes.height(v) > 1 and axes.axis(v) != row_axis for v in operands):
        return conservative(call, axes)
    if axis != row_axis:
        return RowFacts("concat", row_axis, {v: ROW if axes.height(v) > 1 else SINGLE for v in operands})
    stretches: dict[Any, list[tuple[int, int]]] = {var: [(0, -1)] * shape[axis] for var in operands}
    start = 0
    for part in fields:
        rows = shape_of(part)[axis]
        for place in range(rows if part in stretches else 0):
            row = place if axes.height(part) > 1 else 0  # its own rows may lie elsewhere: then it has one
            first, last = stretches[part][start + place]
            stretches[part][start + place] = (row, row) if last < first else (min(first, row), max(last, row))
        start += rows
    return RowFacts("concat", row_axis, {var: table(pairs, axes.height(var)) for var, pairs in stretches.items()})


@rule("strided_slice")
def strided_slice(call: Any, axes: RowAxes) -> RowFacts:
    """Rows begin + r * stride where the rows are sliced, otherwise row r."""
    x = call.args[0]
    row_axis, height = axes.axis(x), axes.height(x)
    rank = len(shape_of(x))
    if not all(hasattr(arg, "fields") for arg in call.args[1:4]):
        return conservative(call, axes)
    sliced = [int(field.value) % rank for field in call.args[1].fields]
    if row_axis not in sliced or height == 1:
        return RowFacts("slice", row_axis, {x: ROW if height > 1 else SINGLE})
    place = sliced.index(row_axis)
    begin = int(call.args[2].fields[place].value)
    step = int(call.args[4].fields[place].value) if len(call.args) > 4 else 1
    begin = max(0, begin + height) if begin < 0 else min(begin, height - (step < 0))
    pairs = [(begin + r * step,) * 2 for r in range(shape_of(call)[row_axis])]
    return RowFacts("slice", row_axis, {x: table(pairs, height)})


@rule("nn.pad")
def pad(call: Any, axes: RowAxes) -> RowFacts:
    """Rows of the operand shifted; what lies in the padding needs none (constant) or its mirror."""
    x = call.args[0]
    row_axis, height = axes.axis(x), axes.height(x)
    mode = str(call.attrs.pad_mode)
    if row_axis is None:
        return RowFacts("pad", None, {x: SINGLE})
    top = ints(call.attrs.pad_width)[2 * row_axis]
    pairs = [_padded_row(r - top, height, mode) for r in range(shape_of(call)[row_axis])]
    return RowFacts("pad", row_axis, {x: table(pairs, height)})


def _padded_row(row: int, height: int, mode: str) -> tuple[int, int]:
    if 0 <= row < height:
        return row, row
    if mode == "reflect":
        row = -row if row < 0 else 2 * (height - 1) - row
    elif mode in ("edge", "replicate"):
        row = min(height - 1, max(0, row))
    elif mode == "circular":
        row %= height
    else:
        return 0, -1
    return (row, row) if 0 <= row < height else (0, height - 1)


@rule("take")
def take(call: Any, axes: RowAxes) -> RowFacts:
    """Rows named by constant indices, row r where another axis is indexed, and embedding tables."""
    x, index = call.args
    shape = shape_of(call)
    if is_constant(x):  # an embedding: row r of the result needs the indices of row r
        placed = axes.axis(index)
        if placed is not None and call.attrs.axis is not None:
            placed += int(call.attrs.axis) % len(shape_of(x))
        return RowFacts("embedding", placed, {index: ROW if axes.height(index) > 1 else SINGLE})
    if not is_constant(index) or call.attrs.axis is None:
        return conservative(call, axes)
    axis, row_axis, height = int(call.attrs.axis) % len(shape_of(x)), axes.axis(x), axes.height(x)
    indices = constant_array(index).astype(np.int64)
    if row_axis is None or height == 1:
        return RowFacts("take", default_row_axis(shape) if row_axis is None else None, {x: SINGLE})
    if axis != row_axis:
        shifted = row_axis if row_axis < axis else row_axis + indices.ndim - 1
        return RowFacts("take", shifted, {x: ROW})
    clipped = str(call.attrs.mode) == "clip"
    rows = (np.clip(indices, 0, height - 1) if clipped else indices % height).reshape(-1).tolist()
    if indices.ndim == 1 and len(rows) > 1:
        return RowFacts("take", row_axis, {x: table([(r, r) for r in rows], height)})
    pair = (min(rows), max(rows))
    return RowFacts("take", None, {x: table([pair], height) if pair != (0, height - 1) else whole(height)})


@rule("nn.pixel_shuffle")
def pixel_shuffle(call: Any, axes: RowAxes) -> RowFacts:
    """Depth to space: row r of the result comes from row r // factor."""
    x, factor = call.args[0], int(call.attrs.upscale_factor)
    if axes.axis(x) != 2:
        return conservative(call, axes)
    return RowFacts(
        "pixel_shuffle", 2, {x: table([(r // factor,) * 2 for r in range(shape_of(call)[2])], axes.height(x))}
    )


@rule("stack")
def stack(call: Any, axes: RowAxes) -> RowFacts:
    """A new axis before or after the rows."""
    operands = tensor_operands(call)
    axis = int(call.attrs.axis) % len(shape_of(call))
    places = {axes.axis(var) for var in operands}
    if all(axes.height(var) == 1 for var in operands):
        return RowFacts("stack", default_row_axis(shape_of(call)), dict.fromkeys(operands, SINGLE))
    if len(places) != 1 or (old := places.pop()) is None:
        return conservative(call, axes)
    return RowFacts("stack", old + (axis <= old), {v: ROW if axes.height(v) > 1 else SINGLE for v in operands})
