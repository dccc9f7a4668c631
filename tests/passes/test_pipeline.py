"""The pipeline "tvm-fusion": known to TVM by its name, with options, and right in its results."""

from __future__ import annotations

import subprocess
import sys
import warnings
from typing import Any

import pytest
import tvm
from tvm import relax

from tests.passes.modules import run
from tests.passes.networks import named, plan_of, whole
from tvm_fusion import passes
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import CompileError, MemoryMismatchError, PlanError, SchemeError, SearchError
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, LoweringWarning, extract
from tvm_fusion.passes.attributes import IR_BUFFER_BYTES, MEMORY_MAP, SCHEME, group_functions
from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable
from tvm_fusion.passes.pipeline import NAME, lowering_passes, register


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


def built_groups(mod: tvm.IRModule, monkeypatch: pytest.MonkeyPatch, **options: Any) -> dict[str, dict[str, Any]]:
    """Attributes of the group functions as they reach TVM's own steps in a build with the pipeline."""
    seen: list[tvm.IRModule] = []

    @tvm.transform.module_pass(opt_level=0)
    def look(mod: tvm.IRModule, _context: Any) -> tvm.IRModule:
        seen.append(mod)
        return mod

    rest = relax.get_pipeline("default_build")
    monkeypatch.setattr(relax, "get_pipeline", lambda _name: tvm.transform.Sequential([look, rest]))
    tvm.compile(mod, "llvm", relax_pipeline=passes.pipeline(plan=whole(extract(mod).graph), **options))
    return group_functions(seen[0])


def test_lowered_groups_carry_their_memory_into_the_build(monkeypatch: pytest.MonkeyPatch) -> None:
    (attributes,) = built_groups(named("residual"), monkeypatch, alignment=64).values()
    addresses = [int(address) for _, address, _ in attributes[MEMORY_MAP]]
    assert all(address % 64 == 0 for address in addresses)
    assert sum(int(size) for _, _, size in attributes[MEMORY_MAP]) == int(attributes[IR_BUFFER_BYTES])


def test_without_lowering_no_group_is_lowered(monkeypatch: pytest.MonkeyPatch) -> None:
    (attributes,) = built_groups(named("residual"), monkeypatch, lower=False).values()
    assert not {MEMORY_MAP, IR_BUFFER_BYTES} & set(attributes)
    assert lowering_passes(lower=False) == ()


def test_scope_is_that_of_the_buffers() -> None:
    mod = named("residual")
    grouped = FuseByPlan(whole(extract(mod).graph))(mod)
    lowered = tvm.transform.Sequential(lowering_passes(scope="global.scratchpad"))(grouped)
    assert 'scope="global.scratchpad"' in lowered.script()
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-4


@pytest.mark.parametrize("scope", ["foo", "", "global.accumulator", "global sram"])
def test_scope_that_is_none(scope: str) -> None:
    with pytest.raises(CompileError, match=f"scope '{scope}' is not allowed"):
        relax.get_pipeline("tvm-fusion", scope=scope)


def test_memory_mismatch_keeps_its_class_through_tvm() -> None:
    mod = named("residual")
    steps = (FuseByPlan(whole(extract(mod).graph)), *lowering_passes(buffer_bytes=1))
    with pytest.raises(MemoryMismatchError, match=r"^fused_group_0: .* the buffer has 1$"):
        tvm.compile(mod, "llvm", relax_pipeline=tvm.transform.Sequential(steps))


def test_group_that_is_not_lowered_is_warned_about_once() -> None:
    mod = named("tuple of an operator")
    inputs = random_inputs(mod)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        executable = tvm.compile(mod, "llvm", relax_pipeline=passes.pipeline(plan=whole(extract(mod).graph)))
    (message,) = (warning.message for warning in caught if isinstance(warning.message, LoweringWarning))
    assert (message.function, "topk" in message.reason) == ("fused_group_0", True)
    assert largest_relative_error(run_executable(executable, inputs), run(mod, inputs)) < 1e-4


@pytest.mark.parametrize("objective", ["dram", "cycles"])
def test_every_scheme_that_is_allowed(objective: str) -> None:
    """Where line buffers do not fit, groups execute in other schemes, and the results stay."""
    mod = named("residual")
    accelerator = Accelerator(buffer_bytes=300)
    chosen = relax.get_pipeline("tvm-fusion", accelerator=accelerator, schemes="auto", objective=objective)
    inputs = random_inputs(mod)
    fused = run_executable(tvm.compile(mod, "llvm", relax_pipeline=chosen), inputs)
    assert largest_relative_error(fused, run(mod, inputs)) < 1e-4
    grouped = passes.FusionSearch(accelerator, schemes="auto", objective=objective)(mod)
    found = {str(attributes[SCHEME]) for attributes in group_functions(grouped).values()}
    assert found == {"lbdf", "brr"}


def test_unknown_scheme_is_refused_before_the_build() -> None:
    with pytest.raises(SchemeError, match="'magic'"):
        relax.get_pipeline("tvm-fusion", schemes="lbdf,magic")
    with pytest.raises(SchemeError, match="'magic'"):
        relax.get_pipeline("tvm-fusion", objective="magic")
