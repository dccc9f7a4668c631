"""The build pipeline "tvm-fusion": group, lower groups by their schemes, verify them, then TVM's own steps."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes.attributes import keep_attributes
from tvm_fusion.passes.fuse_by_plan import FuseByPlan
from tvm_fusion.passes.fusion_search import FusionSearch
from tvm_fusion.passes.lower_schemes import LowerSchemes
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.verify_memory import VerifyMemory

NAME = "tvm-fusion"


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerGroups")
class LowerGroups:
    """Operators become TIR and every primitive group one PrimFunc, which keeps the group's attributes.

    Groups that are PrimFuncs already stay as they are.
    """

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The lowered module; ``mod`` stays as it is."""
        steps = (relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseTIR())
        return keep_attributes(mod, tvm.transform.Sequential(steps)(mod))


def lowering_passes(
    lower: bool = True,
    scope: str = DEFAULT_SCOPE,
    alignment: int = 1,
    buffer_bytes: int | None = None,
    threads: int = 1,
) -> tuple[tvm.transform.Pass, ...]:
    """What lowers grouped functions, each by its scheme, and checks them; nothing with ``lower=False``.

    See LowerSchemes (``scope``, ``threads``) and VerifyMemory (the others). What these leave is for LowerGroups.
    """
    if not lower:
        return ()
    return LowerSchemes(scope, threads=threads), VerifyMemory(scope, alignment, buffer_bytes)


def pipeline(
    accelerator: Accelerator | None = None,
    plan: PartitionPlan | None = None,
    algorithm: str = "best",
    budget: int = 1000,
    seed: int = 0,
    time_limit_seconds: float | None = None,
    repair: str = "random",
    explainer: str = DEFAULT_EXPLAINER,
    lower: bool = True,
    scope: str = DEFAULT_SCOPE,
    alignment: int = 1,
    threads: int = 1,
    schemes: str = "lbdf",
    objective: str = "dram",
    recompute: bool = True,
) -> tvm.transform.Pass:
    """A Relax pipeline for ``tvm.compile(mod, target, relax_pipeline=...)``.

    Groups by ``plan`` if one is given, else by a search with the other options (see FusionSearch). With ``lower``,
    groups are lowered by their schemes with buffers in ``scope`` (a LoweringWarning names those that are not) and
    their memory is verified, with addresses at multiples of ``alignment`` bytes; without, TVM lowers every group in
    its own way. Up to ``threads`` threads share a group (see LowerSchemes).
    """
    if plan is not None:
        grouping: Any = FuseByPlan(plan, accelerator)
    else:
        grouping = FusionSearch(
            accelerator,
            algorithm=algorithm,
            budget=budget,
            seed=seed,
            time_limit_seconds=time_limit_seconds,
            repair=repair,
            explainer=explainer,
            schemes=schemes,
            objective=objective,
            recompute=recompute,
        )
    lowering = lowering_passes(lower, scope, alignment, threads=threads)
    steps = (grouping, *lowering, LowerGroups(), relax.get_pipeline("default_build"))
    return tvm.transform.Sequential(steps, name=NAME)


def register() -> None:
    """Make the name known to TVM; a second call changes nothing."""
    if NAME not in relax.pipeline.PIPELINE_MAP:
        relax.register_pipeline(NAME)(pipeline)
