"""Networks made by hand for the tests of the searches."""

from __future__ import annotations

from tests.graphs import Builder
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.demand import ROW, SINGLE, RowDemand
from tvm_fusion.graph.operator import Window

_B3 = (
    (3, 1, 1, 24, 2),
    (3, 2, 6, 32, 3),
    (5, 2, 6, 48, 3),
    (3, 2, 6, 96, 5),
    (5, 1, 6, 136, 5),
    (5, 2, 6, 232, 6),
    (3, 1, 6, 384, 2),
)


def _depthwise(b: Builder, source: int, kernel: int, stride: int) -> int:
    n, c, h, w = b.tensor(source).shape
    pad = kernel // 2
    out_h, out_w = ((size + 2 * pad - kernel) // stride + 1 for size in (h, w))
    return b.add(
        "conv2d",
        (n, c, out_h, out_w),
        {source: RowDemand("window", kernel, stride, pad)},
        window=Window((kernel, kernel), (stride, stride), (pad,) * 4),
        weight_elements=c * kernel**2 + c,
        macs=c * kernel**2 * out_h * out_w,
    )


def _project(b: Builder, source: int, channels: int) -> int:
    n, c, h, w = b.tensor(source).shape
    return b.add(
        "conv2d",
        (n, channels, h, w),
        {source: RowDemand("window")},
        window=Window((1, 1)),
        weight_elements=c * channels + channels,
        macs=c * channels * h * w,
    )


def _swish(b: Builder, source: int, two: bool) -> int:
    if not two:
        return b.pointwise(source, type_="silu")
    gate = b.pointwise(source, type_="sigmoid")
    return b.pointwise(source, gate, type_="multiply")


def efficientnet_b3(size: int = 300, stages: int = 7, two_op_swish: bool = False) -> OperatorGraph:
    """Inverted residual blocks with squeeze-and-excite; batch norm folded away."""
    b = Builder(height=size, channels=3)
    at = _swish(b, b.conv(-1, 3, 2, 40), two_op_swish)
    for kernel, first_stride, expand, channels, repeats in _B3[:stages]:
        for k in range(repeats):
            stride = first_stride if k == 0 else 1
            start, c_in = at, b.tensor(at).shape[1]
            if expand > 1:
                at = _swish(b, _project(b, at, c_in * expand), two_op_swish)
            at = _swish(b, _depthwise(b, at, kernel, stride), two_op_swish)
            squeezed = _swish(b, _project(b, b.pool(at), max(1, c_in // 4)), two_op_swish)
            gate = b.pointwise(_project(b, squeezed, b.tensor(at).shape[1]), type_="sigmoid")
            _, c, h, w = b.tensor(at).shape
            at = b.add("multiply", (1, c, h, w), {at: ROW, gate: SINGLE}, pointwise=True)
            at = _project(b, at, channels)
            if stride == 1 and c_in == channels:
                at = b.pointwise(start, at, type_="add")
    at = _swish(b, _project(b, at, 1536), two_op_swish)
    return b.graph(b.dense(b.flatten(b.pool(at)), 1000))


def parallel_chains(chains: int, length: int) -> OperatorGraph:
    """``chains`` branches of ``length`` convolutions of one input, added up at the end: many ideals."""
    b = Builder(height=16)
    ends = []
    for _ in range(chains):
        at = -1
        for _ in range(length):
            at = b.conv(at)
        ends.append(at)
    return b.graph(b.pointwise(*ends, type_="add"))
