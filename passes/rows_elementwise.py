"""Row demands of elementwise operators, products of matrices, softmax, norms and reductions."""

from __future__ import annotations

import math
from typing import Any

from tvm_fusion.graph.demand import ACCUMULATE, ALL, ROW, SINGLE, RowDemand
from tvm_fusion.passes.elementwise import BINARY, OTHER, UNARY
from tvm_fusion.passes.relax_tools import ints, is_constant, op_name, shape_of
from tvm_fusion.passes.row_facts import RowAxes, RowFacts, conservative, rule, tensor_operands, whole


def aligned(var: Any, axes: RowAxes, rank: int) -> int | None:
    """Row axis of an operand counted in the axes of a result of ``rank`` axes (broadcasting)."""
    axis = axes.axis(var)
    return None if axis is None else axis + rank - len(shape_of(var))


@rule(*UNARY, *BINARY, *OTHER)
def elementwise(call: Any, axes: RowAxes) -> RowFacts:
    """Row r for row r; row 0 of an operand that broadcasts along the rows."""
    operands, rank = tensor_operands(call), len(shape_of(call))
    row_axis = broadcast_axis(operands, axes, shape_of(call))
    demands = {var: broadcast_demand(var, axes, row_axis, shape_of(call)) for var in operands}
    name = op_name(call).removeprefix("nn.")
    if name == "clip" and (float(call.args[1].value), float(call.args[2].value)) == (0, 6):
        name = "relu6"
    pointwise = all(demand is not ALL for demand in demands.values()) and rank > 0
    return RowFacts(name, row_axis, demands, pointwise=pointwise)


def broadcast_axis(operands: list[Any], axes: RowAxes, shape: tuple[int, ...]) -> int | None:
    """Row axis of a broadcast result: that of the first operand with rows, else any operand's."""
    rank = len(shape)
    places = [(axes.height(var) > 1, aligned(var, axes, rank)) for var in operands]
    candidates = [axis for tall, axis in places if tall and axis is not None]
    candidates += [axis for _, axis in places if axis is not None]
    return candidates[0] if candidates else None


def broadcast_demand(var: Any, axes: RowAxes, row_axis: int | None, shape: tuple[int, ...]) -> RowDemand:
    """Rows of an operand for row r of the broadcast result."""
    if axes.height(var) == 1:
        place = None if row_axis is None else row_axis - len(shape) + len(shape_of(var))
        if place is not None and place >= 0 and shape_of(var)[place] > 1:
            return ALL if shape[row_axis or 0] > 1 else SINGLE
        return ROW if row_axis is None or shape[row_axis] == 1 else SINGLE
    return ROW if aligned(var, axes, len(shape)) == row_axis and axes.height(var) == shape[row_axis or 0] else ALL


@rule("broadcast_to")
def broadcast(call: Any, axes: RowAxes) -> RowFacts:
    """An operand with one row gives its row 0 to every row."""
    x, shape = call.args[0], shape_of(call)
    row_axis = broadcast_axis([x], axes, shape)
    return RowFacts("broadcast_to", row_axis, {x: broadcast_demand(x, axes, row_axis, shape)})


@rule("matmul")
def matmul(call: Any, axes: RowAxes) -> RowFacts:
    """Row-wise over the left operand's rows; the right one whole, unless its rows are a batch axis."""
    left, right = call.args
    if min(len(shape_of(left)), len(shape_of(right))) < 2:
        return conservative(call, axes)
    shape = shape_of(call)
    rank = len(shape)
    macs = math.prod(shape) // axes.batch * shape_of(left)[-1]
    operands = tensor_operands(call)
    row_axis = None
    if left in operands and axes.height(left) > 1 and axes.axis(left) != len(shape_of(left)) - 1:
        row_axis = aligned(left, axes, rank)
    elif right in operands and axes.height(right) > 1 and axes.axis(right) != len(shape_of(right)) - 2:
        row_axis = aligned(right, axes, rank)
    elif rank >= 3:
        row_axis = rank - 2 if shape[rank - 2] == 1 else None
    demands = {}
    for var in operands:
        contracted = len(shape_of(var)) - (1 if var.same_as(left) else 2)
        matches = row_axis is not None and aligned(var, axes, rank) == row_axis and axes.axis(var) != contracted
        demands[var] = (ROW if matches else ALL) if axes.height(var) > 1 else SINGLE
    if left in operands and right in operands and left.same_as(right):
        demands[left] = whole(axes.height(left))
    type_ = "matmul" if len(operands) == 2 else "dense"
    return RowFacts(type_, row_axis, demands, macs=macs)


@rule("nn.softmax", "nn.log_softmax")
def softmax(call: Any, axes: RowAxes) -> RowFacts:
    """Row-wise unless it normalises over the rows themselves."""
    return _along(call, axes, {int(call.attrs.axis) % len(shape_of(call))})


@rule("nn.layer_norm", "nn.rms_norm")
def layer_norm(call: Any, axes: RowAxes) -> RowFacts:
    """Row-wise unless the rows are among its axes."""
    return _along(call, axes, {axis % len(shape_of(call)) for axis in ints(call.attrs.axes)})


@rule("nn.group_norm", "nn.instance_norm")
def group_norm(call: Any, axes: RowAxes) -> RowFacts:
    """Statistics over all rows, which are then read again."""
    return _along(call, axes, {axis % len(shape_of(call)) for axis in ints(call.attrs.axes)})


@rule("nn.batch_norm")
def batch_norm(call: Any, axes: RowAxes) -> RowFacts:
    """Inference batch norm that normalisation could not fold (statistics that are no constants)."""
    return conservative(call, axes)


@rule("cumsum", "cumprod", "flip", "sort", "argsort")
def along_axis(call: Any, axes: RowAxes) -> RowFacts:
    """Row-wise unless it works along the rows."""
    axis = getattr(call.attrs, "axis", None)
    return conservative(call, axes) if axis is None else _along(call, axes, {int(axis) % len(shape_of(call))})


def _along(call: Any, axes: RowAxes, used: set[int]) -> RowFacts:
    x = tensor_operands(call)[0]
    row_axis = axes.axis(x)
    over_rows = row_axis in used and axes.height(x) > 1
    demands = {var: whole(axes.height(var)) for var in tensor_operands(call)}
    demands[x] = ALL if over_rows else ROW
    return RowFacts(op_name(call).removeprefix("nn."), row_axis, demands)


@rule("mean", "sum", "max", "min", "prod", "variance", "std", "argmax", "argmin")
def reduction(call: Any, axes: RowAxes) -> RowFacts:
    """Accumulating over the rows if they are reduced, else row-wise."""
    x = call.args[0]
    if is_constant(x):
        return conservative(call, axes)
    rank, row_axis = len(shape_of(x)), axes.axis(x)
    given = call.attrs.axis
    given = (
        ()
        if given is None
        else ((int(given),) if isinstance(given, int) or not hasattr(given, "__len__") else ints(given))
    )
    used = {axis % rank for axis in given} or set(range(rank))
    keep = bool(call.attrs.keepdims)
    name = op_name(call)
    pools = name == "mean" and rank == 4 and used == {2, 3}
    type_ = "global_avg_pool2d" if pools else f"reduce_{name}" if not name.startswith("arg") else name
    if row_axis is None or row_axis in used:
        result = (row_axis if row_axis is not None else _one_row_axis(shape_of(call))) if keep else None
        return RowFacts(type_, result, {x: ACCUMULATE if axes.height(x) > 1 else SINGLE})
    shifted = row_axis if keep else row_axis - sum(axis < row_axis for axis in used)
    return RowFacts(type_, shifted, {x: ROW})


def _one_row_axis(shape: tuple[int, ...]) -> int | None:
    return 2 if len(shape) == 4 and shape[2] == 1 else None


@rule("nn.attention", "nn.attention_bias")
def attention(call: Any, axes: RowAxes) -> RowFacts:
    """Row-wise in the query (N, T, heads, C); keys, values and bias whole."""
    query = call.args[0]
    demands = {var: whole(axes.height(var)) for var in tensor_operands(call)}
    if axes.axis(query) == 1 and axes.height(query) > 1 and not any(arg.same_as(query) for arg in call.args[1:]):
        demands[query] = ROW
    n, t, heads, c = shape_of(query)
    macs = n * heads * t * shape_of(call.args[1])[1] * (c + shape_of(call)[-1]) // axes.batch
    return RowFacts("attention", 1, demands, macs=macs)
