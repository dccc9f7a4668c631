"""Drawers: by kind of step, what a random network draws for one, its operands and its arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from tests.passes.modules import Shape
from tests.passes.random_steps import ACTIVATIONS, BINARY, IMAGES, REDUCTIONS, Arguments

if TYPE_CHECKING:
    from tests.passes.random_modules import Writer

SIZES = (1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 13)
# Operands and arguments; None where the tensors there are have none that suits.
Drawn = tuple[tuple[int, ...], Arguments] | None


def _conv(w: Writer) -> Drawn:
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


def _transposed(w: Writer) -> Drawn:
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


def _pool(w: Writer, average: bool) -> Drawn:
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


def _activation(w: Writer) -> Drawn:
    x = w.source(2, 3, 4)
    assert x is not None, "there is always an input"
    return (x,), {"type": w.draw(st.sampled_from(sorted(ACTIVATIONS)))}


def _binary(w: Writer) -> Drawn:
    """Two tensors of which one broadcasts to the other, in either order; often of one shape; at times one twice."""
    x = w.source(2, 3, 4)
    assert x is not None
    wide = w.shape(x)

    def fits(shape: Shape) -> bool:
        return len(shape) == len(wide) and all(a in (1, b) for a, b in zip(shape, wide, strict=True))

    y = w.source(2, 3, 4, accept=fits if w.draw(st.booleans()) else lambda shape: shape == wide)
    assert y is not None
    return w.draw(st.sampled_from([(x, y), (y, x)])), {"type": w.draw(st.sampled_from(sorted(BINARY)))}


def _constant(w: Writer) -> Drawn:
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


def _concat(w: Writer) -> Drawn:
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


def _slice(w: Writer) -> Drawn:
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


def _split(w: Writer) -> Drawn:
    x = w.source(3, 4, accept=lambda shape: max(shape[1:]) > 1)
    if x is None:
        return None
    axis = w.draw(st.sampled_from([axis for axis, size in enumerate(w.shape(x)) if axis and size > 1]))
    cuts = w.draw(st.sets(st.integers(1, w.shape(x)[axis] - 1), min_size=1, max_size=2))
    return (x,), {"axis": axis, "cuts": sorted(cuts)}


def _flip(w: Writer) -> Drawn:
    x = w.source(3, 4)
    return None if x is None else ((x,), {"axis": w.draw(st.integers(1, len(w.shape(x)) - 1))})


def _pad(w: Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    mode = w.draw(st.sampled_from(("constant", "constant", "reflect", "replicate", "circular")))
    most = [{"reflect": size - 1, "circular": size}.get(mode, 3) for size in w.shape(x)[2:] * 2]
    padding = tuple(w.draw(st.integers(0, min(3, size))) for size in most)
    return (x,), {"padding": padding, "mode": mode, "value": w.draw(st.sampled_from((0.0, 0.0, -1.5)))}


def _resize(w: Writer) -> Drawn:
    x = w.source(4)
    if x is None:
        return None
    _, _, h, width = w.shape(x)
    size = w.draw(st.sampled_from([(2 * h, 2 * width), (3 * h, width), w.pair(SIZES)]))
    corners = min(size) > 1 and w.draw(st.booleans())  # TVM divides by zero for a single row or column
    return (x,), {"size": size, "mode": w.draw(st.sampled_from(("nearest", "bilinear"))), "corners": corners}


def _reduce(w: Writer) -> Drawn:
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


def _gate(w: Writer) -> Drawn:
    x = w.source(4)
    return None if x is None else ((x,), {"inner": w.draw(st.integers(1, 3)), "seed": w.seed()})


def _images(w: Writer) -> Drawn:
    """What mixes the images of a batch, or moves them to another axis."""
    x = w.source(2, 3, 4)
    if x is None or w.draw(st.integers(0, 1)):
        return None
    return (x,), {"type": w.draw(st.sampled_from(sorted(IMAGES)))}


def _wide(w: Writer) -> Drawn:
    x = w.source(2, 3, 4)
    return None if x is None else ((x,), {})


def _softmax(w: Writer) -> Drawn:
    x = w.source(2, 3, 4)
    assert x is not None
    rank = len(w.shape(x))
    return (x,), {"axis": w.draw(st.sampled_from([1, *range(1, rank)]))}


def _norm(w: Writer) -> Drawn:
    x = w.source(2, 3, 4)
    return None if x is None else ((x,), {"seed": w.seed()})


def _group_norm(w: Writer) -> Drawn:
    x = w.source(4)
    if x is None or w.draw(st.integers(0, 3)):  # rarely: it is never lowered
        return None
    return (x,), {"groups": w.draw(st.sampled_from([1, w.shape(x)[1]])), "seed": w.seed()}


def _dense(w: Writer) -> Drawn:
    x = w.source(2, 3)
    if x is None:
        return None
    return (x,), {"units": w.draw(st.integers(1, 8)), "bias": w.draw(st.booleans()), "seed": w.seed()}


def _to_tokens(w: Writer) -> Drawn:
    x = w.source(4)
    return None if x is None else ((x,), {})


def _to_map(w: Writer) -> Drawn:
    x = w.source(3)
    if x is None:
        return None
    tokens = w.shape(x)[1]
    return (x,), {"height": w.draw(st.sampled_from([h for h in range(1, tokens + 1) if tokens % h == 0]))}


def _attention(w: Writer) -> Drawn:
    x = w.source(3, accept=lambda shape: shape[1] <= 16)
    return None if x is None else ((x,), {"seed": w.seed()})


def _permute(w: Writer) -> Drawn:
    x = w.source(3, 4)
    if x is None:
        return None
    return (x,), {"axes": [0, *w.draw(st.permutations(range(1, len(w.shape(x)))))]}


def _shuffle(w: Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[1] % 2 == 0)
    return None if x is None else ((x,), {"groups": 2})


def _depth_to_space(w: Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[1] % 4 == 0)
    return None if x is None else ((x,), {})


def _space_to_depth(w: Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: shape[2] % 2 == shape[3] % 2 == 0)
    return None if x is None else ((x,), {})


def _flatten(w: Writer) -> Drawn:
    x = w.source(3, 4)
    return None if x is None or w.draw(st.integers(0, 2)) else ((x,), {})


def _broadcast(w: Writer) -> Drawn:
    x = w.source(4, accept=lambda shape: 1 in shape[2:])
    if x is None:
        return None
    n, c, h, width = w.shape(x)
    return (x,), {
        "shape": (n, c, h if h > 1 else w.draw(st.integers(1, 5)), width if width > 1 else w.draw(st.integers(1, 5)))
    }


DRAWERS: dict[str, Callable[[Writer], Drawn]] = {
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
