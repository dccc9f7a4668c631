"""Hypothesis strategies: operator graphs, groups (masks), partition plans and accelerators."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from tests.graphs import Builder
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.graph import OperatorGraph, RowDemand, Tensor
from tvm_fusion.graph.demand import ACCUMULATE, ALL, ROW, SINGLE
from tvm_fusion.graph.graph import members
from tvm_fusion.graph.plan import PartitionPlan, group_order

Draw = st.DrawFn
MAX_HEIGHT = 72
HEIGHTS = (1, 2, 3, 4, 5, 7, 8, 9, 12, 16, 20, 32, 48, 64)
TALL = (24, 31, 40, 49, 56, 60, 64, 72)


def accelerators() -> st.SearchStrategy[Accelerator]:
    """Buffers from tiny to ample; elements of whole, odd and unset widths."""
    bits = st.sampled_from((8, 16, None, 4, 3))
    return st.builds(
        lambda size, activation, weight: Accelerator(buffer_bytes=size, activation_bits=activation, weight_bits=weight),
        st.sampled_from((64, 200, 500, 1000, 2000, 5000, 20_000, 10**6)),
        bits,
        bits,
    )


@st.composite
def operator_graphs(draw: Draw, max_operators: int = 12, regular: bool = False, chains: bool = False) -> OperatorGraph:
    """Graphs with every kind of row demand, branches, skips, several inputs and outputs.

    ``regular``: tall maps and constant strides only, where the fast form can jump over periods. ``chains``: every
    second maker adds squeeze-and-excite or part of it.
    """
    b = Builder(batch=draw(st.sampled_from((1, 1, 2, 3))), inputs=0)
    heights = st.sampled_from(TALL if regular else HEIGHTS)
    makers = st.sampled_from(REGULAR if regular else MAKERS)
    if chains:
        makers = st.one_of(makers, st.sampled_from(CHAINS))
    same = draw(heights)
    for k in range(draw(st.integers(1, 3))):
        shape = (b.batch, draw(st.integers(1, 4)), draw(st.one_of(st.just(same), heights)), draw(st.integers(1, 4)))
        dtype = draw(st.sampled_from(("float32", "float16", "int8")))
        b.inputs.append(Tensor(f"x{k}", shape, dtype=dtype, row_axis=2, batch=b.batch))
    for _ in range(draw(st.integers(1, max_operators))):
        draw(makers)(draw, b)
    if not b.operators:
        b.conv(-1, kernel=1)
    read = {operand for op in b.operators for operand in op.inputs}
    ends = [op.id for op in b.operators if op.id not in read]
    if len(ends) > 1 and draw(st.integers(0, 9)) == 0:
        ends.pop()  # an operator whose result nobody wants
    extra = draw(st.sets(st.integers(0, len(b.operators) - 1), max_size=2))
    return b.graph(*sorted({*ends, *extra}))


def group_masks(graph: OperatorGraph) -> st.SearchStrategy[int]:
    """Connected, convex groups."""
    return _group_masks(graph)


@st.composite
def _group_masks(draw: Draw, graph: OperatorGraph) -> int:
    mask = 1 << draw(st.integers(0, len(graph) - 1))
    for _ in range(draw(st.integers(0, len(graph)))):
        around = 0
        for i in members(mask):
            around |= graph.predecessor_masks[i] | graph.successor_masks[i]
        near = list(members(around & ~mask))
        if not near:
            break
        mask = convex_hull(graph, mask | 1 << draw(st.sampled_from(near)))
    return mask


@st.composite
def partitions(draw: Draw, graph: OperatorGraph) -> PartitionPlan:
    """Acyclic partitions: single operators, merged along edges while no cycle arises."""
    masks = [1 << i for i in range(len(graph))]
    if graph.edges:
        for producer, consumer in draw(st.lists(st.sampled_from(graph.edges), max_size=2 * len(graph))):
            joined = [m for m in masks if m >> producer & 1 or m >> consumer & 1]
            merged = [m for m in masks if m not in joined] + [sum(joined)]
            if len(joined) == 2 and group_order(graph, merged) is not None:
                masks = merged
    return PartitionPlan.from_masks(graph, masks)


def convex_hull(graph: OperatorGraph, mask: int) -> int:
    """The group with every operator on a path between two of its operators."""
    below = above = mask
    for i in range(len(graph)):
        if graph.predecessor_masks[i] & below:
            below |= 1 << i
    for i in reversed(range(len(graph))):
        if graph.successor_masks[i] & above:
            above |= 1 << i
    return mask | (below & above)


def _source(draw: Draw, b: Builder, accept: Callable[[Tensor], bool] = lambda t: True) -> int | None:
    """A tensor: usually one of the latest, so that depth arises; now and then any, so that skips do."""
    every = [i for i in [*range(-len(b.inputs), 0), *range(len(b.operators))] if accept(b.tensor(i))]
    if not every:
        return None
    source: int = draw(st.one_of(st.sampled_from(every[-2:]), st.sampled_from(every)))
    return source


def _is_map(tensor: Tensor) -> bool:
    return len(tensor.shape) == 4


def _map_shape(draw: Draw, b: Builder, height: int) -> tuple[int, int, int, int]:
    return (b.batch, draw(st.integers(1, 4)), height, draw(st.integers(1, 4)))


def _weights(draw: Draw) -> dict[str, int]:
    return {"weight_elements": draw(st.integers(0, 40)), "macs": draw(st.integers(0, 400))}


def _convolution(draw: Draw, b: Builder) -> None:
    """Any kernel, stride, dilation and padding; windows wholly in the padding included."""
    source = _source(draw, b)
    assert source is not None
    height = b.tensor(source).height
    kernel, stride, dilation = draw(st.sampled_from((1, 3, 3, 2, 4, 5))), draw(st.integers(1, 3)), 1
    if draw(st.integers(0, 3)) == 0:
        dilation = draw(st.integers(2, 3))
    reach = (kernel - 1) * dilation
    paddings = st.one_of(st.just(reach // 2), st.integers(0, reach + 2))
    top, bottom = draw(paddings), draw(paddings)
    out = (height + top + bottom - reach - 1) // stride + 1
    if 1 <= out <= MAX_HEIGHT:
        demand = RowDemand("window", kernel, stride, top, dilation)
        b.add("conv2d", _map_shape(draw, b, out), {source: demand}, **_weights(draw))


def _same_convolution(draw: Draw, b: Builder) -> None:
    source = _source(draw, b, _is_map)
    if source is not None:
        b.conv(source, draw(st.sampled_from((1, 3, 5))), channels=draw(st.integers(1, 4)))


def _activation(draw: Draw, b: Builder) -> None:
    source = _source(draw, b, _is_map)
    if source is not None:
        b.pointwise(source)


def _merge(draw: Draw, b: Builder) -> None:
    """Elementwise with up to three operands: equal shapes, equal heights, or one row broadcast."""
    first = _source(draw, b, _is_map)
    if first is None:
        return
    height = b.tensor(first).height
    operands = {first}
    for _ in range(draw(st.integers(1, 2))):
        other = _source(draw, b, lambda t: _is_map(t) and t.height in (1, height))
        assert other is not None
        operands.add(other)
    order = draw(st.permutations(sorted(operands)))
    b.pointwise(*order, type_="add")


def _by_row(draw: Draw, b: Builder) -> None:
    """Concat, slice or row-wise dense: row r of everything, not pointwise; a crop may leave rows unread."""
    first = _source(draw, b)
    assert first is not None
    height = b.tensor(first).height
    operands = {first: ROW}
    for _ in range(draw(st.integers(0, 2))):
        other = _source(draw, b, lambda t: t.height >= height)
        assert other is not None
        operands[other] = ROW
    out = height if draw(st.integers(0, 3)) else draw(st.integers(1, height))
    b.add("concat", _map_shape(draw, b, out), operands, **_weights(draw))


def _upsample(draw: Draw, b: Builder) -> None:
    """Nearest resize, or a transposed convolution: rows between the strides may need nothing."""
    source = _source(draw, b, lambda t: 3 * t.height <= MAX_HEIGHT)
    if source is None:
        return
    height, factor = b.tensor(source).height, draw(st.integers(2, 3))
    rows = range(height * factor)
    if draw(st.booleans()):
        first = last = tuple(r // factor for r in rows)
    else:
        kernel, padding = draw(st.integers(1, 4)), draw(st.integers(0, 2))
        first = tuple(max(0, -(-(r + padding - kernel + 1) // factor)) for r in rows)
        last = tuple(min(height - 1, (r + padding) // factor) for r in rows)
    demand = RowDemand("table", first=first, last=last)
    b.add("resize", _map_shape(draw, b, height * factor), {source: demand}, **_weights(draw))


def _table(draw: Draw, b: Builder) -> None:
    """Any table, rising or not; some rows need nothing."""
    source = _source(draw, b, lambda t: t.height <= 16)
    if source is None:
        return
    height, out = b.tensor(source).height, draw(st.integers(1, 8))
    row = st.tuples(st.integers(0, height - 1), st.integers(0, height - 1))
    rows = draw(st.lists(row, min_size=out, max_size=out))
    demand = RowDemand("table", first=tuple(a for a, _ in rows), last=tuple(z for _, z in rows))
    b.add("take", _map_shape(draw, b, out), {source: demand})


def _global_pool(draw: Draw, b: Builder) -> None:
    source = _source(draw, b, _is_map)
    if source is not None:
        b.pool(source)


def _gate(draw: Draw, b: Builder) -> None:
    """Squeeze and excite: a tensor times a function of its own pooling."""
    source = _source(draw, b, _is_map)
    if source is not None:
        b.pointwise(source, b.conv(b.pool(source), 1), type_="multiply")


def _excite(draw: Draw, b: Builder) -> None:
    """A block with squeeze-and-excite; the map that is multiplied may be another one of this height."""
    source = _source(draw, b, lambda t: _is_map(t) and t.height > 1)
    if source is None:
        return
    if draw(st.booleans()):
        source = b.conv(source, draw(st.sampled_from((1, 3))))
    scale = b.pool(b.pointwise(source) if draw(st.booleans()) else source)
    for _ in range(draw(st.integers(0, 2))):
        scale = draw(st.sampled_from((b.pointwise, lambda t: b.conv(t, 1))))(scale)
    height = b.tensor(source).height
    other = source if draw(st.integers(0, 2)) else _source(draw, b, lambda t: _is_map(t) and t.height == height)
    assert other is not None
    made = b.pointwise(other, scale, type_="multiply")
    if draw(st.booleans()):
        b.conv(made, 1)


def _one_row(draw: Draw, b: Builder) -> None:
    """An operator of one row that reads one or two others: chains join, or follow one another."""
    first = _source(draw, b, lambda t: _is_map(t) and t.height == 1)
    if first is None:
        _global_pool(draw, b)
        return
    other = _source(draw, b, lambda t: _is_map(t) and t.height == 1)
    assert other is not None
    b.pointwise(first, *({other} - {first}), type_="add")


def _all_rows(draw: Draw, b: Builder) -> None:
    source = _source(draw, b)
    assert source is not None
    if draw(st.booleans()):
        b.add("unknown", _map_shape(draw, b, draw(st.integers(1, 6))), {source: ALL}, **_weights(draw))
    else:
        b.add("reshape", (b.batch, b.tensor(source).elements), {source: ALL})


def _mixed(draw: Draw, b: Builder) -> None:
    """Two or three operands, each read in its own way (matmul, attention, anything)."""
    out = draw(st.integers(1, 12))
    operands: dict[int, RowDemand] = {}
    for _ in range(draw(st.integers(2, 3))):
        source = _source(draw, b)
        assert source is not None
        height = b.tensor(source).height
        stride = max(1, height // out)
        kinds = [ALL, ACCUMULATE, SINGLE, RowDemand("window", 3, stride, 1)] + [ROW] * (height >= out)
        operands[source] = draw(st.sampled_from(kinds))
    b.add("matmul", _map_shape(draw, b, out), operands, **_weights(draw))


Maker = Callable[[Draw, Builder], None]
MAKERS: tuple[Maker, ...] = (
    _same_convolution,
    _convolution,
    _activation,
    _merge,
    _by_row,
    _upsample,
    _table,
    _global_pool,
    _gate,
    _all_rows,
    _mixed,
    _convolution,
    _same_convolution,
    _merge,
    _activation,
)
REGULAR: tuple[Maker, ...] = (
    _same_convolution,
    _convolution,
    _activation,
    _merge,
    _by_row,
    _convolution,
    _merge,
    _gate,
)
CHAINS: tuple[Maker, ...] = (_excite, _excite, _gate, _global_pool, _one_row)
