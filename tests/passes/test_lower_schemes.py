"""LowerSchemes: every group by its scheme; one of a scheme without a lowering is named."""

from __future__ import annotations

import pytest
import tvm

from tests.passes.lowering.in_passes import module
from tests.passes.lowering.lowered import ROOMY
from tests.passes.modules import copied, run
from tests.passes.networks import named
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import (
    FuseByPlan,
    LowerBands,
    LowerChannels,
    LowerGroups,
    LowerLineBuffer,
    LowerPasses,
    LowerSchemes,
    VerifyMemory,
)
from tvm_fusion.passes.attributes import SCHEME
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning

MIXED = PartitionPlan((Group((0, 1), "brr", {"bands": 2, "kept": []}), Group((2,), "layer"), Group((3, 4), "lbdf")))


def lowered(mod: tvm.IRModule) -> list[bool]:
    """Of each group whether it is a PrimFunc."""
    return [isinstance(mod[f"fused_group_{k}"], tvm.tirx.PrimFunc) for k in range(3)]


def test_each_pass_lowers_its_schemes() -> None:
    mod = FuseByPlan(MIXED, ROOMY)(named("residual"))
    before = copied(mod)
    assert lowered(LowerBands()(mod)) == [True, False, False]
    assert lowered(LowerLineBuffer()(mod)) == [False, True, True]
    assert lowered(LowerLineBuffer()(LowerBands()(mod))) == [True, True, True]
    assert lowered(LowerSchemes()(mod)) == [True, True, True]
    tvm.ir.assert_structural_equal(mod, before)


def test_passes_beside_other_schemes() -> None:
    """Tensors between groups of different schemes lie by rows; the results are those of the network."""
    mod = module("two blocks")
    passes = Group((0, 1, 2), "two-pass", {"split": [1], "kept": [], "weights": "reloaded"})
    plan = PartitionPlan((passes, Group((3,), "brr", {"bands": 2, "kept": []}), Group((4, 5), "lbdf")))
    grouped = FuseByPlan(plan, ROOMY)(mod)
    assert lowered(LowerPasses()(grouped)) == [True, False, False]
    assert lowered(LowerBands()(grouped)) == [False, True, False]
    found = VerifyMemory()(LowerSchemes()(grouped))
    assert lowered(found) == [True, True, True]
    images, rows, elements = (int(size) for size in found["fused_group_0"].params[-1].shape)
    assert (images, rows, elements) == (1, 8, 32)
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(found), inputs), run(mod, inputs)) < 1e-5


def test_channels() -> None:
    streams = {"phases": [[0, 1, 2], [3, 4]], "resident": [-1, 2, 4]}
    mod = FuseByPlan(PartitionPlan((Group((0, 1, 2, 3, 4), "channel-streaming", streams),)), ROOMY)(named("residual"))
    before = copied(mod)
    for lowering, is_lowered in ((LowerBands(), False), (LowerChannels(), True), (LowerSchemes(), True)):
        assert isinstance(lowering(mod)["fused_group_0"], tvm.tirx.PrimFunc) == is_lowered
    tvm.ir.assert_structural_equal(mod, before)


def test_scheme_without_a_lowering() -> None:
    mod = FuseByPlan(MIXED, ROOMY)(named("residual"))
    mod["fused_group_2"] = mod["fused_group_2"].with_attr(SCHEME, "by-chance")
    with pytest.warns(LoweringWarning, match=r"^fused_group_2 is left .*: scheme 'by-chance' has no lowering$"):
        assert lowered(LowerSchemes()(mod)) == [True, True, False]
