"""The build pipeline "tvm-fusion": group, lower every group to a PrimFunc, then what TVM does to every module."""

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

NAME = "tvm-fusion"


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerGroups")
class LowerGroups:
    """Operators become TIR and every primitive group one PrimFunc, which keeps the group's attributes."""

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The lowered module; ``mod`` stays as it is."""
        steps = (relax.transform.LegalizeOps(), relax.transform.AnnotateTIROpPattern(), relax.transform.FuseTIR())
        return keep_attributes(mod, tvm.transform.Sequential(steps)(mod))


def pipeline(
    accelerator: Accelerator | None = None,
    plan: PartitionPlan | None = None,
    algorithm: str = "best",
    budget: int = 1000,
    seed: int = 0,
    time_limit_seconds: float | None = None,
    repair: str = "random",
    explainer: str = DEFAULT_EXPLAINER,
) -> tvm.transform.Pass:
    """A Relax pipeline for ``tvm.compile(mod, target, relax_pipeline=...)``.

    Groups by ``plan`` if one is given, else by a search with the other options (see FusionSearch).
    """
    if plan is not None:
        grouping: Any = FuseByPlan(plan, accelerator)
    else:
        grouping = FusionSearch(accelerator, algorithm, budget, seed, time_limit_seconds, repair, explainer)
    steps = (grouping, LowerGroups(), relax.get_pipeline("default_build"))
    return tvm.transform.Sequential(steps, name=NAME)


def register() -> None:
    """Make the name known to TVM; a second call changes nothing."""
    if NAME not in relax.pipeline.PIPELINE_MAP:
        relax.register_pipeline(NAME)(pipeline)
