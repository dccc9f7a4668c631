"""Random small networks as data, which two independent backends execute: Relax (for TVM) and torch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import tvm
from hypothesis import strategies as st

from tests.passes.modules import Shape, stepwise
from tests.passes.random_steps import ACTIVATIONS, BINARY, IMAGES, KINDS, REDUCTIONS, Arguments, Step, weight

Draw = st.DrawFn
MOST_ELEMENTS = 3000
LARGEST = 1e3
SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13)


@dataclass(frozen=True)
class Network:
    """Steps over tensors by number: the inputs, then every result in order; ``outputs`` are what is returned."""

    inputs: tuple[Shape, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]

    def arrays(self) -> list[np.ndarray]:
        """Input values."""
        return [np.random.default_rng(k + 100).standard_normal(s).astype("float32") for k, s in enumerate(self.inputs)]

    def module(self) -> tvm.IRModule:
        """The network in Relax; its float32 weights of one seed and shape are one constant."""
        weight.cache_clear()

        def build(emit: Callable[[Any], Any], *inputs: Any) -> Any:
            tensors = list(inputs)
            for step in self.steps:
                made = KINDS[step.kind][0](emit, *(tensors[k] for k in step.operands), step.arguments)
                tensors += [emit(part) for part in (made if isinstance(made, tuple) else (made,))]
            results = [tensors[k] for k in self.outputs]
            return tuple(results) if len(results) > 1 else results[0]

        return stepwise(build, *self.inputs)

    def results(self) -> list[np.ndarray]:
        """Outputs by torch, in double precision."""
        tensors = [torch.from_numpy(values).double() for values in self.arrays()]
        for step in self.steps:
            tensors += executed(step, tensors)
        return [tensors[k].numpy() for k in self.outputs]


def executed(step: Step, tensors: list[torch.Tensor]) -> list[torch.Tensor]:
    """Results of one step by torch."""
    made = KINDS[step.kind][1](*(tensors[k] for k in step.operands), step.arguments)
    return list(made) if isinstance(made, tuple) else [made]


@st.composite
def networks(draw: Draw, max_steps: int = 12, chains: bool = False) -> Network:
    """Networks of 1 to ``max_steps`` steps on one to three inputs, all with one batch of 1 to 3.

    ``chains``: maps, of which some are multiplied by a function of their own mean, at least one if all goes well.
    """
    batch = draw(st.sampled_from((1, 1, 1, 2, 3)))
    sizes = st.sampled_from(SIZES)
    shapes: list[Shape] = []
    common = (draw(st.integers(1, 6)), draw(sizes), draw(sizes))
    for _ in range(draw(st.sampled_from((1, 1, 1, 2, 3)))):
        choices = (common, common, (draw(st.integers(1, 6)), draw(sizes), draw(sizes)), (common[0], 1, 1))
        shapes.append((batch, *draw(st.sampled_from(choices))))
    if not chains and draw(st.integers(0, 7)) == 0:
        shapes = [(batch, draw(st.integers(2, 13)), draw(st.integers(1, 8)))]  # tokens
    writer = _Writer(draw, shapes, *((CHAINED, 50) if chains else (DRAWN, 2)))
    if chains:
        writer.step("conv")
        writer.step("gate")
    for _ in range(draw(st.integers(1, max_steps))):
        writer.step()
    return writer.network(tuple(shapes))


class _Writer:
    """Draws steps one after another; torch executes each at once, which says the shapes."""

    def __init__(self, draw: Draw, shapes: list[Shape], kinds: tuple[str, ...], most_seed: int) -> None:
        self.draw = draw
        self.kinds = kinds
        self.most_seed = most_seed
        self.tensors = [torch.from_numpy(v).double() for v in Network(tuple(shapes), (), ()).arrays()]
        self.inputs = len(shapes)
        self.steps: list[Step] = []

    def step(self, kind: str | None = None) -> None:
        kind = kind or self.draw(st.sampled_from(self.kinds))
        found = DRAWERS[kind](self)
        if found is None:
            return
        step = Step(kind, *found)
        try:
            made = executed(step, self.tensors)
        except (RuntimeError, ValueError):  # torch refuses: a window larger than its map, and the like
            return
        if all(self._is_fine(result) for result in made):
            self.steps.append(step)
            self.tensors += made

    def _is_fine(self, result: torch.Tensor) -> bool:
        small = 0 < result.numel() <= MOST_ELEMENTS
        return small and bool(torch.isfinite(result).all()) and float(result.abs().max()) < LARGEST

    def network(self, shapes: tuple[Shape, ...]) -> Network:
        if not any(step.kind in ("activation", "binary", "conv", "softmax") for step in self.steps):
            # The others may change nothing, and a network that computes nothing is refused.
            self.steps.append(Step("activation", (len(self.tensors) - 1,), {"type": "relu"}))
            self.tensors += executed(self.steps[-1], self.tensors)
        read = {operand for step in self.steps for operand in step.operands}
        made = range(self.inputs, len(self.tensors))
        ends = [k for k in made if k not in read]
        more = self.draw(st.sets(st.sampled_from(made), max_size=2)) if self.draw(st.integers(0, 2)) == 0 else set()
        return Network(shapes, tuple(self.steps), tuple(sorted({*ends, *more})))

    def shape(self, number: int) -> Shape:
        return tuple(self.tensors[number].shape)

    def source(self, *ranks: int, accept: Callable[[Shape], bool] = lambda shape: True) -> int | None:
        """A tensor of one of these ranks: usually one of the latest, now and then any."""
        every = [k for k, t in enumerate(self.tensors) if t.ndim in ranks and accept(tuple(t.shape))]
        if not every:
            return None
        found: int = self.draw(st.one_of(st.sampled_from(every[-2:]), st.sampled_from(every)))
        return found

    def seed(self) -> int:
        """If few of them: equal weights are one constant of the module, which several operators then share."""
        return self.draw(st.integers(0, self.most_seed))

    def pair(self, choices: tuple[int, ...]) -> tuple[int, int]:
        one = self.draw(st.sampled_from(choices))
        return (one, one) if self.draw(st.booleans()) else (one, self.draw(st.sampled_from(choices)))

    def padding(self, kernel: tuple[int, int], most: int) -> tuple[int, ...]:
        """What keeps the size, the same on all sides, or anything."""
        kind = self.draw(st.integers(0, 3))
        if kind < 2:
            return tuple(min(most, side // 2) for side in (*kernel, *kernel))
        return tuple(self.draw(st.integers(0, most)) for _ in range(4))


Drawn = tuple[tuple[int, ...], Arguments] | None


def _conv(w: _Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    draw, inside = w.draw, w.shape(x)[1]
    groups = draw(st.sampled_from([1, 1, inside, *(g for g in (2, 3) if inside % g == 0)]))
    channels = groups * draw(st.integers(1, max(1, 8 // groups)))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 3), (5, 5), (1, 3), (3, 1), (2, 2), (1, 5), (4, 1)]))
    more = {"padding": w.padding(kernel, 4), "strides": w.pair((1, 1, 2, 3)), "dilation": w.pair((1, 1, 1, 2, 3))}
    return (x,), {
        "channels": channels, "groups": groups, "kernel": kernel, "bias": draw(st.booleans()), "seed": w.seed(), **more,
    }  # fmt: skip


def _transposed(w: _Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    draw, inside = w.draw, w.shape(x)[1]
    groups = draw(st.sampled_from([1, 1, *(g for g in (2, inside) if inside % g == 0)]))
    kernel, strides = w.pair((1, 2, 3, 4)), w.pair((1, 2, 3))
    padding = tuple(draw(st.integers(0, size - 1)) for size in (*kernel, *kernel))
    more = tuple(draw(st.integers(0, stride - 1)) for stride in strides)
    channels = groups * draw(st.integers(1, 3))
    arguments = {"channels": channels, "groups": groups, "kernel": kernel, "strides": strides}
    return (x,), arguments | {"padding": padding, "more": more, "seed": w.seed()}


def _pool(w: _Writer, average: bool) -> Drawn:
    """With rounding up nothing is padded: frameworks differ in what they then count."""
    x = w.source(4)
    if x is None:
        return None
    draw, kernel, strides = w.draw, w.pair((1, 2, 3, 3, 4)), w.pair((1, 2, 3))
    ceil = draw(st.integers(0, 3)) == 0
    padding = (0,) * 4 if ceil else tuple(min(p, k - 1) for p, k in zip(w.padding(kernel, 3), kernel * 2, strict=True))
    if ceil and any(-(-(s - k) // t) * t >= s for s, k, t in zip(w.shape(x)[2:], kernel, strides, strict=True)):
        return None  # a window that starts beyond the map
    arguments = {"kernel": kernel, "strides": strides, "padding": padding, "ceil": ceil}
    if average:
        return (x,), arguments | {"include": not ceil and draw(st.booleans())}
    return (x,), arguments | {"dilation": w.pair((1, 1, 1, 2))}


def _activation(w: _Writer) -> Drawn:
    x = w.source(2, 3, 4)
    assert x is not None, "there is always an input"
    return (x,), {"type": w.draw(st.sampled_from(sorted(ACTIVATIONS)))}


def _binary(w: _Writer) -> Drawn:
    """Two tensors of which one broadcasts to the other, in either order; often of one shape; at times one twice."""
    x = w.source(2, 3, 4)
    assert x is not None
    wide = w.shape(x)

    def fits(shape: Shape) -> bool:
        return len(shape) == len(wide) and all(a in (1, b) for a, b in zip(shape, wide, strict=True))

    y = w.source(2, 3, 4, accept=fits if w.draw(st.booleans()) else lambda shape: shape == wide)
    assert y is not None
    return w.draw(st.sampled_from([(x, y), (y, x)])), {"type": w.draw(st.sampled_from(sorted(BINARY)))}


def _constant(w: _Writer) -> Drawn:
    x = w.source(2, 3, 4)
    assert x is not None
    n, *rest = w.shape(x)
    ones = (1,) * len(rest)
    forms = [(1, *rest), (1, *ones), (), (1, rest[0], *ones[1:]), (1, *ones[1:], rest[-1]), (rest[-1],), tuple(rest)]
    if len(rest) == 3:
        forms += [(1, 1, *rest[1:]), (1, 1, rest[1], 1), (rest[1], 1), (n, *rest), (n, rest[0], 1, 1)]
    type_ = w.draw(st.sampled_from(sorted(BINARY)))
    return (x,), {
        "type": type_,
        "shape": w.draw(st.sampled_from(forms)),
        "first": w.draw(st.booleans()),
        "seed": w.seed(),
    }


def _concat(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    if x is None:
        return None
    first = w.shape(x)
    axis = w.draw(st.integers(1, len(first) - 1))

    def fits(shape: Shape) -> bool:
        return len(shape) == len(first) and all(
            a == b for k, (a, b) in enumerate(zip(shape, first, strict=True)) if k != axis
        )

    others = [w.source(3, 4, accept=fits) for _ in range(w.draw(st.integers(1, 2)))]
    return w.draw(st.permutations([x, *(y for y in others if y is not None)])), {"axis": axis}


def _slice(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    if x is None:
        return None
    axis = w.draw(st.integers(1, len(w.shape(x)) - 1))
    size = w.shape(x)[axis]
    begin = w.draw(st.integers(0, size - 1))
    return (x,), {
        "axis": axis,
        "begin": begin,
        "end": w.draw(st.integers(begin + 1, size)),
        "step": w.draw(st.integers(1, 3)),
    }


def _split(w: _Writer) -> Drawn:
    x = w.source(3, 4, accept=lambda shape: max(shape[1:]) > 1)
    if x is None:
        return None
    axis = w.draw(st.sampled_from([axis for axis, size in enumerate(w.shape(x)) if axis and size > 1]))
    cuts = w.draw(st.sets(st.integers(1, w.shape(x)[axis] - 1), min_size=1, max_size=2))
    return (x,), {"axis": axis, "cuts": sorted(cuts)}


def _flip(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    return None if x is None else ((x,), {"axis": w.draw(st.integers(1, len(w.shape(x)) - 1))})


def _pad(w: _Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    mode = w.draw(st.sampled_from(("constant", "constant", "reflect", "replicate", "circular")))
    most = [{"reflect": size - 1, "circular": size}.get(mode, 3) for size in w.shape(x)[2:] * 2]
    padding = tuple(w.draw(st.integers(0, min(3, size))) for size in most)
    return (x,), {"padding": padding, "mode": mode, "value": w.draw(st.sampled_from((0.0, 0.0, -1.5)))}


def _resize(w: _Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    _, _, h, width = w.shape(x)
    size = w.draw(st.sampled_from([(2 * h, 2 * width), (3 * h, width), w.pair(SIZES)]))
    corners = min(size) > 1 and w.draw(st.booleans())  # TVM divides by zero for a single row or column
    return (x,), {"size": size, "mode": w.draw(st.sampled_from(("nearest", "bilinear"))), "corners": corners}


def _reduce(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    if x is None:
        return None
    rank = len(w.shape(x))
    sets = [(2, 3), (2, 3), (1,), (2,), (3,), (1, 2), (1, 2, 3)] if rank == 4 else [(1,), (2,), (1, 2)]
    keep = w.draw(st.integers(0, 3)) > 0
    return (x,), {
        "type": w.draw(st.sampled_from(sorted(REDUCTIONS))),
        "axes": w.draw(st.sampled_from(sets)),
        "keep": keep,
    }


def _gate(w: _Writer) -> Drawn:
    x = w.source(4)
    return None if x is None else ((x,), {"inner": w.draw(st.integers(1, 3)), "seed": w.seed()})


def _images(w: _Writer) -> Drawn:
    """What mixes the images of a batch, or moves them to another axis."""
    x = w.source(2, 3, 4)
    if x is None or w.draw(st.integers(0, 1)):
        return None
    return (x,), {"type": w.draw(st.sampled_from(sorted(IMAGES)))}


def _wide(w: _Writer) -> Drawn:
    x = w.source(2, 3, 4)
    return None if x is None else ((x,), {})


def _softmax(w: _Writer) -> Drawn:
    x = w.source(2, 3, 4)
    assert x is not None
    rank = len(w.shape(x))
    return (x,), {"axis": w.draw(st.sampled_from([1, *range(1, rank)]))}


def _norm(w: _Writer) -> Drawn:
    x = w.source(2, 3, 4)
    return None if x is None else ((x,), {"seed": w.seed()})


def _group_norm(w: _Writer) -> Drawn:
    x = w.source(4)
    if x is None or w.draw(st.integers(0, 3)):  # rarely: it is never lowered
        return None
    return (x,), {"groups": w.draw(st.sampled_from([1, w.shape(x)[1]])), "seed": w.seed()}


def _dense(w: _Writer) -> Drawn:
    x = w.source(2, 3)
    if x is None:
        return None
    return (x,), {"units": w.draw(st.integers(1, 8)), "bias": w.draw(st.booleans()), "seed": w.seed()}


def _to_tokens(w: _Writer) -> Drawn:
    x = w.source(4)
    return None if x is None else ((x,), {})


def _to_map(w: _Writer) -> Drawn:
    x = w.source(3)
    if x is None:
        return None
    tokens = w.shape(x)[1]
    return (x,), {"height": w.draw(st.sampled_from([h for h in range(1, tokens + 1) if tokens % h == 0]))}


def _attention(w: _Writer) -> Drawn:
    x = w.source(3, accept=lambda shape: shape[1] <= 16)
    return None if x is None else ((x,), {"seed": w.seed()})


def _permute(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    if x is None:
        return None
    return (x,), {"axes": [0, *w.draw(st.permutations(range(1, len(w.shape(x)))))]}


def _shuffle(w: _Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[1] % 2 == 0)
    return None if x is None else ((x,), {"groups": 2})


def _depth_to_space(w: _Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[1] % 4 == 0)
    return None if x is None else ((x,), {})


def _space_to_depth(w: _Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[2] % 2 == shape[3] % 2 == 0)
    return None if x is None else ((x,), {})


def _flatten(w: _Writer) -> Drawn:
    x = w.source(3, 4)
    return None if x is None or w.draw(st.integers(0, 2)) else ((x,), {})


def _broadcast(w: _Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: 1 in shape[2:])
    if x is None:
        return None
    n, c, h, width = w.shape(x)
    return (x,), {
        "shape": (n, c, h if h > 1 else w.draw(st.integers(1, 5)), width if width > 1 else w.draw(st.integers(1, 5)))
    }


DRAWERS: dict[str, Callable[[_Writer], Drawn]] = {
    "conv": _conv,
    "transposed": _transposed,
    "max_pool": lambda w: _pool(w, average=False),
    "average_pool": lambda w: _pool(w, average=True),
    "activation": _activation,
    "binary": _binary,
    "constant": _constant,
    "concat": _concat,
    "slice": _slice,
    "split": _split,
    "flip": _flip,
    "pad": _pad,
    "resize": _resize,
    "reduce": _reduce,
    "gate": _gate,
    "images": _images,
    "wide": _wide,
    "softmax": _softmax,
    "layer_norm": _norm,
    "group_norm": _group_norm,
    "dense": _dense,
    "to_tokens": _to_tokens,
    "to_map": _to_map,
    "attention": _attention,
    "permute": _permute,
    "shuffle": _shuffle,
    "depth_to_space": _depth_to_space,
    "space_to_depth": _space_to_depth,
    "flatten": _flatten,
    "broadcast": _broadcast,
}
DRAWN = (*DRAWERS, "conv", "conv", "conv", "activation", "activation", "binary", "binary", "dense")
CHAINED = (*DRAWN, *("gate", "gate", "conv", "binary", "reduce") * 5)
