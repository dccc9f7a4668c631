"""Modules whose groups execute in passes, for the tests of what lowers them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tvm
from hypothesis import strategies as st
from tvm.relax import op

from tests.passes.lowering.lowered import ROOMY
from tests.passes.modules import Shape, conv, stepwise
from tests.passes.networks import X, whole
from tvm_fusion.cost_models.pass_chains import Chains
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, extract


def scaled(emit: Any, t: Any) -> Any:
    """A map times its own mean."""
    return emit(op.multiply(t, emit(op.mean(t, [2, 3], True))))


def excited(emit: Any, x: Any) -> Any:
    """0 convolution 1 x 1, 1 mean, 2 convolution, 3 sigmoid, 4 product."""
    at = emit(conv(x, 6, kernel=1))
    gate = emit(op.sigmoid(emit(conv(emit(op.mean(at, [2, 3], True)), 6, kernel=1, seed=5))))
    return op.multiply(at, gate)


def two_blocks(emit: Any, x: Any) -> Any:
    """0 convolution, 1 mean, 2 product, then the same again: the second scale needs the first."""
    return scaled(emit, emit(conv(scaled(emit, emit(conv(x, 4))), 4, seed=1)))


def parallel(emit: Any, x: Any) -> Any:
    """Two scales of one level: 0 and 1 convolutions, 2 and 4 means, 3 and 5 products, 6 their sum."""
    left, right = emit(conv(x, 4, kernel=1)), emit(conv(x, 4, kernel=1, seed=1))
    return op.add(scaled(emit, left), scaled(emit, right))


def by_turns(emit: Any, x: Any) -> Any:
    """Convolution 0 is in the first and the last of three passes, 2 in the one between."""
    left = emit(conv(x, 4, kernel=1))
    first = emit(op.mean(left, [2, 3], True))
    right = emit(op.multiply(emit(conv(x, 4, kernel=1, seed=1)), first))
    return op.multiply(left, emit(op.mean(right, [2, 3], True)))


def with_scale(emit: Any, x: Any) -> Any:
    """The scale is a result as well, and so is the map that waits for it."""
    at = emit(conv(x, 4))
    mean = emit(op.mean(at, [2, 3], True))
    return emit(op.multiply(at, mean)), mean, at


def row_of_columns(emit: Any, x: Any) -> Any:
    """The first scale is a row of several columns, whose mean the second one is."""
    at = emit(conv(x, 4))
    columns = emit(op.mean(at, [2], True))
    flat = emit(op.mean(emit(op.multiply(at, columns)), [2], True))
    mean = emit(op.mean(emit(op.add(columns, flat)), [2, 3], True))
    return op.multiply(at, mean)


CHAINED: dict[str, tuple[Callable[..., Any], Shape]] = {
    "squeeze and excite": (excited, X),
    "two blocks": (two_blocks, X),
    "parallel chains": (parallel, X),
    "weights by turns": (by_turns, X),
    "a scale that is a result": (with_scale, X),
    "a scale of several columns": (row_of_columns, X),
    "two blocks, two images": (two_blocks, (2, *X[1:])),
    "weights by turns, three images": (by_turns, (3, *X[1:])),
    "a scale that is a result, two images": (with_scale, (2, *X[1:])),
}


def module(name: str) -> tvm.IRModule:
    """A network of CHAINED."""
    build, shape = CHAINED[name]
    return stepwise(build, shape)


def in_passes(graph: OperatorGraph, kept: Callable[[int], bool] = lambda _: False, weights: str = "shared") -> Any:
    """All operators as one group, every chain split off, and the weights of the operators that ``kept`` says."""
    (group,) = whole(graph).groups
    split = list(members(sum(Chains(graph).units(mask_of(group.operators)))))
    chosen = {"split": split, "kept": list(filter(kept, group.operators)), "weights": weights}
    return PartitionPlan((Group(group.operators, "two-pass", chosen),))


def grouped(mod: tvm.IRModule, kept: Callable[[int], bool] = lambda _: False, weights: str = "shared") -> tvm.IRModule:
    """The network as one group in passes."""
    return FuseByPlan(in_passes(extract(mod).graph, kept, weights), ROOMY)(mod)


@st.composite
def schemes(draw: st.DrawFn, graph: OperatorGraph, plan: PartitionPlan) -> PartitionPlan:
    """The plan with most groups that have a chain in passes, with random chains split off and random weights kept."""
    groups, chains = [], Chains(graph)
    for group in plan.groups:
        mask = mask_of(group.operators)
        units = chains.units(mask)
        if not units or draw(st.integers(0, 6)) == 6:
            groups.append(group)
            continue
        split = set(members(draw(st.sampled_from(units))))  # at least one that somebody waits for
        split |= draw(st.sets(st.sampled_from(list(members(mask & chains.heads)))))
        if draw(st.booleans()):
            split |= set(members(sum(units)))
        kept = draw(st.one_of(st.just([]), st.lists(st.sampled_from(group.operators), unique=True).map(sorted)))
        chosen = {"split": sorted(split), "kept": kept, "weights": draw(st.sampled_from(("shared", "reloaded")))}
        groups.append(Group(group.operators, "two-pass", chosen))
    return PartitionPlan(tuple(groups))
