"""check_windows: strided and transposed windows, against what a convolution of ones really sees."""

from __future__ import annotations

import pytest
import torch

from tvm_fusion.graph.demand import ALL
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator, Tensor, Window
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.unread_operands import check_windows

# Operand's size, kernel, stride, padding, dilation; the same for rows and columns.
SIZES = [
    (size, kernel, stride, padding, dilation)
    for size in (1, 2, 5)
    for kernel in (1, 2, 3, 5)
    for stride in (1, 2, 3)
    for padding in range(2 * kernel)
    for dilation in (1, 2)
]


def seen(transposed: bool, size: int, kernel: int, stride: int, padding: int, dilation: int) -> list[bool] | None:
    """Whether each row of the result sees one of the operand; None where there is no result."""
    convolution = torch.nn.functional.conv_transpose1d if transposed else torch.nn.functional.conv1d
    ones, weight = torch.ones(1, 1, size), torch.ones(1, 1, kernel)
    try:
        found = convolution(ones, weight, stride=stride, padding=padding, dilation=dilation)
    except RuntimeError:
        return None
    return [bool(value > 0) for value in found.flatten()] or None


def network(transposed: bool, rows: int, size: int, window: Window) -> OperatorGraph:
    image = Tensor("x", (1, 1, size, size), row_axis=2)
    name = "conv2d_transpose" if transposed else "conv2d"
    op = Operator("y", (1, 1, rows, rows), row_axis=2, id=0, type=name, inputs=(-1,), demands=(ALL,), window=window)
    return OperatorGraph(name="one", inputs=(image,), operators=(op,), outputs=(0,))


@pytest.mark.parametrize("transposed", [False, True])
def test_it_refuses_convolutions_of_ones_that_give_zeros_alone(transposed: bool) -> None:
    counts = {True: 0, False: 0}
    for size, kernel, stride, padding, dilation in SIZES:
        rows = seen(transposed, size, kernel, stride, padding, dilation)
        if rows is None:
            continue
        window = Window((kernel,) * 2, (stride,) * 2, (padding,) * 4, (dilation,) * 2)
        graph = network(transposed, len(rows), size, window)
        counts[any(rows)] += 1
        if any(rows):
            check_windows(graph)
        else:
            with pytest.raises(NotLowered, match="'y': its windows see padding alone"):
                check_windows(graph)
    assert min(counts.values()) >= 10
