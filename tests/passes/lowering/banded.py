"""Modules whose groups execute in bands, for the tests of what lowers them."""

from __future__ import annotations

from collections.abc import Callable

import tvm
from hypothesis import strategies as st

from tests.passes.lowering.lowered import ROOMY
from tests.passes.networks import whole
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, extract


def in_bands(plan: PartitionPlan, bands: int, kept: Callable[[int], bool] = lambda _: False) -> PartitionPlan:
    """The plan with every group in so many bands, and the weights of the operators that ``kept`` says on chip."""
    return PartitionPlan(
        tuple(Group(g.operators, "brr", {"bands": bands, "kept": list(filter(kept, g.operators))}) for g in plan.groups)
    )


def grouped(mod: tvm.IRModule, bands: int, kept: Callable[[int], bool] = lambda _: False) -> tvm.IRModule:
    """All that hangs together as one group in bands."""
    return FuseByPlan(in_bands(whole(extract(mod).graph), bands, kept), ROOMY)(mod)


@st.composite
def schemes(draw: st.DrawFn, graph: OperatorGraph, plan: PartitionPlan) -> PartitionPlan:
    """The plan with most groups in a random number of bands, with random weights kept; the others as they are."""
    groups = []
    for group in plan.groups:
        kept = draw(st.lists(st.sampled_from(group.operators), unique=True).map(sorted))
        height = max(graph.operators[i].height for i in group.operators)
        bands = draw(st.integers(1, max(1, min(height + 1, 7))))
        chosen = Group(group.operators, "brr", {"bands": bands, "kept": kept})
        groups.append(chosen if draw(st.integers(0, 4)) else group)
    return PartitionPlan(tuple(groups))
