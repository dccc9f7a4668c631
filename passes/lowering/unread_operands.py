"""check_windows: an operand that is held for a while must be read, which windows in the padding do not do."""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.not_lowered import NotLowered


def check_windows(graph: OperatorGraph) -> None:
    """Raise NotLowered for an operator whose windows see padding alone, all of them.

    The cost model holds its operand until it is done, but no code reads it: how long it is there cannot be told from
    the TIR. One window that reads something is enough.
    """
    for op in graph.operators:
        if op.window is not None and op.inputs and not _reads_something(op, graph.tensor(op.inputs[0]).shape):
            raise NotLowered(op.name, f"its windows see padding alone ({op.type})")


def _reads_something(op: Operator, operand: tuple[int, ...]) -> bool:
    axis = op.row_axis
    if op.window is None or axis is None or axis + 1 >= min(len(op.shape), len(operand)):
        return True
    (tall, wide), (down, right), (apart, aside) = op.window.kernel, op.window.stride, op.window.dilation
    top, left = op.window.padding[:2]
    reads = _read_by_transposed if op.type.endswith("_transpose") else _reads
    rows = (reads(r, down, top, tall, apart, operand[axis]) for r in range(op.shape[axis]))
    columns = (reads(c, right, left, wide, aside, operand[axis + 1]) for c in range(op.shape[axis + 1]))
    return any(rows) and any(columns)


def _reads(place: int, stride: int, before: int, kernel: int, dilation: int, size: int) -> bool:
    first = place * stride - before
    return any(0 <= first + tap * dilation < size for tap in range(kernel))


def _read_by_transposed(place: int, stride: int, before: int, kernel: int, dilation: int, size: int) -> bool:
    """Operand place i adds to the places i * stride - before + tap * dilation of the result."""
    spread = (place + before - tap * dilation for tap in range(kernel))
    return any(at % stride == 0 and 0 <= at // stride < size for at in spread)
