"""Compile a network grouped by a plan."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import CompileError, FusionError
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes.pipeline import pipeline


def compile_plan(
    mod: IRModule, plan: PartitionPlan, accelerator: Accelerator | None = None, target: str = "llvm"
) -> Any:
    """A TVM executable of ``mod`` with one function a group.

    Raises PlanError if the plan is not one of the module, CompileError if TVM knows no such target or
    cannot build for it.
    """
    try:
        kind = tvm.target.Target(target)
    except (ValueError, TypeError, RuntimeError, KeyError) as error:
        raise CompileError(f"TVM knows no target {target!r}: {_first_line(error)}") from None
    try:
        return tvm.compile(mod, kind, relax_pipeline=pipeline(accelerator, plan))
    except FusionError:
        raise
    except Exception as error:  # TVM raises many kinds
        raise CompileError(f"TVM cannot compile the network for {target!r}: {_first_line(error)}") from error


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
