"""Compile a network grouped by a plan."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import CompileError, FusionError
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes.fuse_by_plan import FuseByPlan
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.pipeline import LowerGroups, lowering_passes

AnyTarget: TypeAlias = str | tvm.target.Target


def compile_plan(
    mod: IRModule,
    plan: PartitionPlan,
    accelerator: Accelerator | None = None,
    target: AnyTarget = "llvm",
    lower: bool = True,
    scope: str = DEFAULT_SCOPE,
    alignment: int = 1,
    threads: int = 1,
) -> Any:
    """A TVM executable of ``mod`` with one function a group; options as those of the pipeline.

    Raises PlanError if the plan is not one of the module, MemoryMismatchError if a lowered group holds or moves other
    bytes than the cost model says, CompileError if TVM knows no such target or cannot build for it.
    """
    return build_lowered(lower_plan(mod, plan, accelerator, target, lower, scope, alignment, threads=threads), target)


def lower_plan(
    mod: IRModule,
    plan: PartitionPlan,
    accelerator: Accelerator | None = None,
    target: AnyTarget = "llvm",
    lower: bool = True,
    scope: str = DEFAULT_SCOPE,
    alignment: int = 1,
    buffer_bytes: int | None = None,
    threads: int = 1,
) -> IRModule:
    """The first half of compile_plan: a module whose lowered groups carry their memory facts (see group_memory).

    Raises what compile_plan raises, and MemoryMismatchError if addresses exceed ``buffer_bytes`` where it is given.
    """
    steps = (FuseByPlan(plan, accelerator), *lowering_passes(lower, scope, alignment, buffer_bytes, threads))
    return _tried(target, lambda kind: _within(kind, tvm.transform.Sequential(steps), mod))


def build_lowered(mod: IRModule, target: AnyTarget = "llvm") -> Any:
    """The second half of compile_plan: the TVM executable of what lower_plan gave. Raises CompileError."""
    rest = tvm.transform.Sequential((LowerGroups(), relax.get_pipeline("default_build")))
    return _tried(target, lambda kind: tvm.compile(mod, kind, relax_pipeline=rest))


def _within(kind: Any, passes: Any, mod: IRModule) -> IRModule:
    with kind:
        return passes(mod)


def known_target(target: AnyTarget) -> Any:
    """The TVM target called so. Raises CompileError if there is none."""
    try:
        return tvm.target.Target(target)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise CompileError(f"TVM knows no target {str(target)!r}: {first_line(error)}") from None


def _tried(target: AnyTarget, work: Callable[[Any], Any]) -> Any:
    """What ``work`` makes for a target. Raises CompileError for what TVM refuses."""
    kind = known_target(target)
    try:
        return work(kind)
    except FusionError:
        raise
    except Exception as error:  # TVM raises many kinds
        raise CompileError(f"TVM cannot compile the network for {str(target)!r}: {first_line(error)}") from error


def first_line(error: Exception) -> str:
    """What an error of TVM says, in one line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
