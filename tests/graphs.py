"""Small graphs made by hand, shared by the tests."""

from __future__ import annotations

from tvm_fusion.graph import Operator, OperatorGraph, RowDemand, Tensor, Window
from tvm_fusion.graph.demand import ACCUMULATE, ALL, ROW, SINGLE


class Builder:
    """Adds operators to a graph one after another; every method returns the new operand id."""

    def __init__(self, height: int = 56, channels: int = 4, inputs: int = 1, batch: int = 1) -> None:
        self.batch = batch
        shape = (batch, channels, height, height)
        self.inputs = [Tensor(f"x{k}", shape, row_axis=2, batch=batch) for k in range(inputs)]
        self.operators: list[Operator] = []

    def tensor(self, operand: int) -> Tensor:
        return self.operators[operand] if operand >= 0 else self.inputs[-operand - 1]

    def add(self, type_: str, shape: tuple[int, ...], operands: dict[int, RowDemand], **facts: object) -> int:
        number = len(self.operators)
        row_axis = 2 if len(shape) == 4 else None
        self.operators.append(
            Operator(
                name=f"{type_}_{number}",
                shape=shape,
                row_axis=row_axis,
                batch=self.batch,
                id=number,
                type=type_,
                inputs=tuple(operands),
                demands=tuple(operands.values()),
                **facts,  # type: ignore[arg-type]
            )
        )
        return number

    def conv(
        self,
        source: int,
        kernel: int = 3,
        stride: int = 1,
        channels: int | None = None,
        padding: tuple[int, int] | None = None,
        dilation: int = 1,
    ) -> int:
        _, c, h, w = self.tensor(source).shape
        channels = channels or c
        top, bottom = padding or (kernel // 2 * dilation,) * 2
        out = (h + top + bottom - (kernel - 1) * dilation - 1) // stride + 1
        out_w = (w + top + bottom - (kernel - 1) * dilation - 1) // stride + 1
        window = Window((kernel, kernel), (stride, stride), (top, top, bottom, bottom), (dilation, dilation))
        return self.add(
            "conv2d",
            (self.batch, channels, out, out_w),
            {source: RowDemand("window", kernel, stride, top, dilation)},
            window=window,
            weight_elements=c * channels * kernel**2,
            macs=c * channels * kernel**2 * out * out_w,
        )

    def pointwise(self, *sources: int, type_: str = "relu") -> int:
        shape = max((self.tensor(s).shape for s in sources), key=lambda s: s[2])
        demands = {s: ROW if self.tensor(s).height == shape[2] else SINGLE for s in sources}
        return self.add(type_, shape, demands, pointwise=True)

    def pool(self, source: int) -> int:
        n, c, *_ = self.tensor(source).shape
        return self.add("mean", (n, c, 1, 1), {source: ACCUMULATE})

    def flatten(self, source: int) -> int:
        n, c, h, w = self.tensor(source).shape
        return self.add("reshape", (n, c * h * w), {source: ALL})

    def dense(self, source: int, units: int = 10) -> int:
        n, features = self.tensor(source).shape
        return self.add("dense", (n, units), {source: SINGLE}, weight_elements=units * features, macs=units * features)

    def graph(self, *outputs: int) -> OperatorGraph:
        return OperatorGraph(
            "by_hand", tuple(self.inputs), tuple(self.operators), outputs or (len(self.operators) - 1,)
        )


def residual_block(convolutions: int = 2) -> OperatorGraph:
    """x -> (conv3x3 -> relu) ... -> conv3x3 -> add(x) -> relu."""
    b = Builder()
    at = -1
    for k in range(convolutions):
        at = b.conv(at)
        if k < convolutions - 1:
            at = b.pointwise(at)
    return b.graph(b.pointwise(b.pointwise(-1, at, type_="add")))


def squeeze_and_excite() -> OperatorGraph:
    """conv1x1 -> t; t * sigmoid(conv1x1(pool(t)))."""
    b = Builder()
    t = b.conv(-1, kernel=1)
    gate = b.pointwise(b.conv(b.pool(t), kernel=1), type_="sigmoid")
    return b.graph(b.pointwise(t, gate, type_="multiply"))


def chain(length: int) -> OperatorGraph:
    """conv3x3 after conv3x3."""
    b = Builder(height=16)
    at = -1
    for _ in range(length):
        at = b.conv(at)
    return b.graph(at)


def everything(graph: OperatorGraph) -> int:
    """The mask of all operators."""
    return (1 << len(graph)) - 1
