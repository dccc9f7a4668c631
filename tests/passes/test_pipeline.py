"""The pipeline "tvm-fusion": known to TVM by its name, with options, and right in its results."""

from __future__ import annotations

import subprocess
import sys

import pytest
import tvm
from tvm import relax

from tests.passes.modules import run
from tests.passes.networks import named, plan_of
from tvm_fusion import passes
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import PlanError, SearchError
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.attributes import group_functions
from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable
from tvm_fusion.passes.pipeline import NAME, register


@pytest.mark.parametrize("name", ["residual", "transformer", "branches"])
def test_compiles_by_name(name: str) -> None:
    mod = named(name)
    inputs = random_inputs(mod)
    fused = run_executable(tvm.compile(mod, "llvm", relax_pipeline="tvm-fusion"), inputs)
    assert largest_relative_error(fused, run(mod, inputs)) < 1e-4


def test_builds_with_options() -> None:
    mod = named("residual")
    chosen = relax.get_pipeline("tvm-fusion", accelerator=Accelerator(buffer_bytes=512), budget=20, seed=1)
    inputs = random_inputs(mod)
    fused = run_executable(relax.build(mod, "llvm", relax_pipeline=chosen), inputs)
    assert largest_relative_error(fused, run(mod, inputs)) < 1e-4


def test_plan_that_is_given_is_the_plan_that_is_built() -> None:
    """The executable calls one function for each group of the plan."""
    mod = named("residual")
    plan = plan_of(extract(mod).graph, (0, 1))
    executable = tvm.compile(mod, "llvm", relax_pipeline=relax.get_pipeline("tvm-fusion", plan=plan))
    text = executable.as_text()
    assert [f"fused_group_{k}" in text for k in range(5)] == [True, True, True, True, False]


def test_pipeline_is_the_grouping_then_the_lowering() -> None:
    mod = named("residual")
    plan = plan_of(extract(mod).graph, (0, 1))
    lowered = LowerGroups()(FuseByPlan(plan)(mod))
    assert len(group_functions(lowered)) == 4
    assert all(isinstance(lowered[name], tvm.tirx.PrimFunc) for name in group_functions(lowered))


def test_registering_again_changes_nothing() -> None:
    before = relax.pipeline.PIPELINE_MAP[NAME]
    register()
    register()
    assert relax.pipeline.PIPELINE_MAP[NAME] is before is passes.pipeline


def test_import_registers_the_name() -> None:
    code = (
        "from tvm import relax; assert 'tvm-fusion' not in relax.pipeline.PIPELINE_MAP; "
        "import tvm_fusion.passes; assert 'tvm-fusion' in relax.pipeline.PIPELINE_MAP"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_unknown_algorithm_is_refused_before_the_build() -> None:
    with pytest.raises(SearchError, match="'magic' is unknown"):
        relax.get_pipeline("tvm-fusion", algorithm="magic")


def test_error_of_a_pass_keeps_its_class_through_tvm() -> None:
    plan = PartitionPlan((Group((0,)),))
    with pytest.raises(PlanError, match="is in no group"):
        tvm.compile(named("residual"), "llvm", relax_pipeline=relax.get_pipeline("tvm-fusion", plan=plan))
