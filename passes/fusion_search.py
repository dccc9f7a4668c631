"""FusionSearch: the search inside a pass, then the grouping by what it found."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.cost_models.accelerator import Accelerator, load_accelerator
from tvm_fusion.cost_models.objective import check_objective
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.registry import chosen_schemes
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER
from tvm_fusion.explainers.repair import check_repair, make_splitter
from tvm_fusion.passes.extract import extract
from tvm_fusion.passes.fuse_by_plan import fuse_extraction
from tvm_fusion.search import search
from tvm_fusion.search.registry import algorithm_factory


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.FusionSearch")
class FusionSearch:
    """Search for the plan that moves the least data on ``accelerator`` (default: "edge") and group by it.

    ``algorithm`` is a name of ``tvm_fusion.search``, ``budget`` counts plans proposed, ``seed`` makes it
    repeatable, ``time_limit_seconds`` ends it earlier. ``repair`` ("random", "explained") says how invalid groups are
    split, ``explainer`` who explains them. Groups execute in the cheapest of ``schemes`` ("auto": of all) by
    ``objective``; ``recompute`` allows those that execute arithmetic again. Raises SearchError, SchemeError or
    ExplainerError for an unknown name.
    """

    def __init__(
        self,
        accelerator: Accelerator | None = None,
        algorithm: str = "best",
        budget: int = 1000,
        seed: int = 0,
        time_limit_seconds: float | None = None,
        repair: str = "random",
        explainer: str = DEFAULT_EXPLAINER,
        schemes: str = "lbdf",
        objective: str = "dram",
        recompute: bool = True,
    ) -> None:
        algorithm_factory(algorithm)  # refuses an unknown name now, not in the middle of a build
        check_repair(repair, explainer)
        chosen_schemes(schemes)
        check_objective(objective)
        self.schemes = schemes
        self.objective = objective
        self.recompute = recompute
        self.repair = repair
        self.explainer = explainer
        self.accelerator = accelerator or load_accelerator("edge")
        self.algorithm = algorithm
        self.budget = budget
        self.seed = seed
        self.time_limit_seconds = time_limit_seconds

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The grouped module; ``mod`` stays as it is."""
        extraction = extract(mod)
        oracle = Oracle(extraction.graph, self.accelerator, self.schemes, self.objective, self.recompute)
        found = search(
            extraction.graph,
            oracle,
            self.algorithm,
            budget_plans=self.budget,
            seed=self.seed,
            time_limit_seconds=self.time_limit_seconds,
            splitter=make_splitter(self.repair, self.explainer, oracle, self.seed),
        )
        return fuse_extraction(extraction, found.plan, oracle)
