"""Hypothesis strategies: legal assignments of channel streaming, and graphs in which channels matter."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from hypothesis import strategies as st

from tests.graphs import Builder
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_roles import JOINS, ChannelRoles
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph import OperatorGraph, RowDemand, Window
from tvm_fusion.graph.demand import ALL, ROW, SINGLE
from tvm_fusion.graph.graph import members

Draw = st.DrawFn


def depthwise(b: Builder, source: int, kernel: int = 3, stride: int = 1) -> int:
    """A depthwise convolution with bias."""
    n, c, h, w = b.tensor(source).shape
    pad = kernel // 2
    out_h, out_w = ((size + 2 * pad - kernel) // stride + 1 for size in (h, w))
    return b.add(
        "depthwise_conv2d",
        (n, c, out_h, out_w),
        {source: RowDemand("window", kernel, stride, pad)},
        window=Window((kernel, kernel), (stride, stride), (pad,) * 4),
        weight_elements=c * kernel**2 + c,
        macs=c * kernel**2 * out_h * out_w,
    )


def project(b: Builder, source: int, channels: int) -> int:
    """A 1x1 convolution with bias."""
    n, c, h, w = b.tensor(source).shape
    return b.add(
        "conv2d",
        (n, channels, h, w),
        {source: RowDemand("window")},
        window=Window((1, 1)),
        weight_elements=c * channels + channels,
        macs=c * channels * h * w,
    )


def inverted_residual(
    size: int = 8, channels: int = 4, expand: int = 6, excite: bool = False, batch: int = 1
) -> OperatorGraph:
    """expand, relu, depthwise, relu, (squeeze and excite,) project, add."""
    b = Builder(height=size, channels=channels, batch=batch)
    at = b.pointwise(project(b, -1, channels * expand))
    at = b.pointwise(depthwise(b, at))
    if excite:
        gate = b.pointwise(
            project(b, b.pointwise(project(b, b.pool(at), channels)), channels * expand), type_="sigmoid"
        )
        at = b.pointwise(at, gate, type_="multiply")
    return b.graph(b.pointwise(-1, project(b, at, channels), type_="add"))


@st.composite
def channel_graphs(draw: Draw, max_operators: int = 10) -> OperatorGraph:
    """Convolutions, depthwise and pointwise ones, pools, one-row chains, residuals, concats, slices, norms, dense."""
    b = Builder(
        height=draw(st.integers(1, 6)), channels=draw(st.integers(1, 5)), batch=draw(st.sampled_from((1, 1, 2)))
    )
    for _ in range(draw(st.integers(1, max_operators))):
        every = [*range(-1, 0), *range(len(b.operators))]
        source = draw(st.one_of(st.sampled_from(every[-2:]), st.sampled_from(every)))
        n, c, h, w = b.tensor(source).shape
        kind = draw(st.integers(0, 14))
        alike = [t for t in every if b.tensor(t).shape == (n, c, h, w) and t != source]
        if kind <= 3:
            b.conv(source, draw(st.sampled_from((1, 3))), channels=draw(st.integers(1, 6)))
        elif kind <= 5:
            depthwise(b, source, stride=draw(st.integers(1, 2)))
        elif kind == 6 and h > 1:
            b.pool(source)
        elif kind == 7 and h > 1:  # squeeze and excite
            b.pointwise(source, b.conv(b.pool(source), 1), type_="multiply")
        elif kind == 8:
            others = [t for t in every if b.tensor(t).height == h]
            joined = draw(st.lists(st.sampled_from(others), min_size=1, max_size=3, unique=True))
            total = sum(b.tensor(t).shape[1] for t in joined)
            b.add("concat", (n, total, h, w), dict.fromkeys(sorted(joined), ROW if h > 1 else SINGLE))
        elif kind == 9:
            b.add("slice", (n, max(1, c // 2), h, w), {source: ROW if h > 1 else SINGLE})
        elif kind == 10:
            weights = draw(st.integers(0, 9))
            b.add("layer_norm", (n, c, h, w), {source: ROW if h > 1 else SINGLE}, weight_elements=weights)
        elif kind == 11:  # one channel for all others
            mean = b.conv(source, 1, channels=1)
            b.pointwise(source, mean, type_="multiply")
        elif kind == 12:
            b.add("matmul", (n, 2, h, w), {t: ALL if b.tensor(t).height > 1 else SINGLE for t in {source, every[-1]}})
        elif alike:
            chosen = draw(st.lists(st.sampled_from(alike), min_size=1, max_size=2, unique=True))
            b.pointwise(*sorted([source, *chosen]), type_="add")
        else:
            b.pointwise(source)
    read = {operand for op in b.operators for operand in op.inputs}
    ends = [op.id for op in b.operators if op.id not in read]
    extra = draw(st.sets(st.integers(0, len(b.operators) - 1), max_size=1))
    return b.graph(*sorted({*ends, *extra}))


class AssignmentRules:
    """What the page allows, told once more and without masks: for drawing assignments and for trying all of them."""

    def __init__(self, graph: OperatorGraph, mask: int) -> None:
        self.graph, self.roles = graph, ChannelRoles(graph)
        self.group = list(members(mask))
        self.inputs = Sizes(graph, OWN_WIDTHS).outside_inputs(mask)

    def forced(self) -> set[int]:
        """Tensors that are resident in every assignment."""
        always = {t for t in [*self.inputs, *self.group] if self.graph.tensor(t).height == 1}
        for i in self.group:
            if self.roles.kinds[i] == "whole":
                always |= {i, *self.graph.operators[i].inputs}
            if self.graph.operators[i].type in JOINS:
                always.add(i)
            by_channel = self.roles.by_channel[i]
            always |= {t for t, by in zip(self.graph.operators[i].inputs, by_channel, strict=True) if not by}
        return always & {*self.inputs, *self.group}

    def sealed(self, i: int, phase: int, made_in: dict[int, int], resident: set[int]) -> bool:
        """Whether a result is complete only at the end of its phase."""
        operator, kind = self.graph.operators[i], self.roles.kinds[i]
        streams = [t for t in operator.inputs if not self._complete(t, phase, made_in, resident)]
        return kind == "whole" or operator.type in JOINS or (kind in ("mix", "move") and bool(streams))

    def _complete(self, t: int, phase: int, made_in: dict[int, int], resident: set[int]) -> bool:
        return t in resident and (t in self.inputs or made_in[t] < phase)

    def assignment(self, made_in: dict[int, int], resident: set[int]) -> ChannelAssignment | None:
        """The least that executes every operator first in phase ``made_in``, again where a stream is needed again."""
        resident = resident | self.forced()
        count = max(made_in.values()) + 1
        phases: list[set[int]] = [{i for i in self.group if made_in[i] == p} for p in range(count)]
        for p, phase in enumerate(phases):
            waiting = sorted(phase)
            while waiting:
                i = waiting.pop()
                if self.roles.kinds[i] == "whole" and len(phase) > 1:
                    return None
                if self.sealed(i, p, made_in, resident) and (i not in resident or made_in[i] != p):
                    return None
                by_channel = self.roles.by_channel[i]
                for t, by in zip(self.graph.operators[i].inputs, by_channel, strict=True):
                    if self._complete(t, p, made_in, resident):
                        continue
                    if not by or (t not in self.inputs and made_in[t] > p):
                        return None
                    if t in self.inputs:
                        continue
                    if t in resident and (made_in[t] != p or self.sealed(t, p, made_in, resident)):
                        return None
                    if t not in resident and self.sealed(t, p, made_in, resident):
                        return None
                    if t not in phase:
                        phase.add(t)
                        waiting.append(t)
        if any(self.roles.kinds[i] == "whole" for phase in phases for i in phase if len(phase) > 1):
            return None
        return ChannelAssignment(tuple(tuple(sorted(phase)) for phase in phases), tuple(sorted(resident)))

    def every(self) -> Iterator[ChannelAssignment]:
        """All of them: every number of phases, every choice of residents."""
        free = sorted({*self.inputs, *self.group} - self.forced())
        for made in product(range(len(self.group)), repeat=len(self.group)):
            if set(made) != set(range(max(made) + 1)):
                continue
            made_in = dict(zip(self.group, made, strict=True))
            if any(
                t in made_in and made_in[t] > made_in[i] for i in self.group for t in self.graph.operators[i].inputs
            ):
                continue
            for chosen in product((False, True), repeat=len(free)):
                found = self.assignment(made_in, {t for t, held in zip(free, chosen, strict=True) if held})
                if found is not None:
                    yield found


@st.composite
def assignments(draw: Draw, graph: OperatorGraph, mask: int) -> ChannelAssignment:
    """Any legal assignment; as likely as not one that computes something again."""
    rules = AssignmentRules(graph, mask)
    for _ in range(20):
        made_in: dict[int, int] = {}
        latest = 0
        for i in rules.group:
            low = max((made_in[t] for t in graph.operators[i].inputs if t in made_in), default=0)
            made_in[i] = draw(st.integers(low, latest + 1)) if draw(st.booleans()) else max(low, latest)
            latest = max(latest, made_in[i])
        names = sorted(set(made_in.values()))
        made_in = {i: names.index(p) for i, p in made_in.items()}
        resident = draw(st.sets(st.sampled_from([*rules.inputs, *rules.group])))
        found = rules.assignment(made_in, resident)
        if found is not None:
            return found
    # One operator after another, everything held.
    alone = {i: k for k, i in enumerate(rules.group)}
    found = rules.assignment(alone, {*rules.inputs, *rules.group})
    assert found is not None
    return found
