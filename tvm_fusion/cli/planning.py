"""One search as the command line runs it: oracle, progress bar, evaluation, and what is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.cli import options, session
from tvm_fusion.errors import SearchError
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.cost_models.evaluation import PlanEvaluation
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.reports.comparison import RunFacts
    from tvm_fusion.reports.repair_facts import RepairFacts
    from tvm_fusion.search import SearchResult

# Algorithms whose answer no seed changes.
_DETERMINISTIC = ("exact", "interval-dp", "unfused")


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """How to search, as the options say."""

    algorithm: str = "best"
    budget_plans: int = 1000
    seed: int = 0
    seconds: float | None = None
    repair: str = "random"
    explainer: str = DEFAULT_EXPLAINER
    scheme: str = "auto"
    objective: str = "dram"
    recompute: bool = True
    cache: Path | None = None
    bound_seconds: float | None = 0.0

    def check(self) -> None:
        """Raise SchemeError, SearchError or ExplainerError for a name that is not registered."""
        from tvm_fusion.explainers.repair import check_repair
        from tvm_fusion.search import algorithm_names

        options.check_scheme(self.scheme, self.objective)
        if self.algorithm not in algorithm_names():
            raise SearchError(f"algorithm {self.algorithm!r} is unknown; allowed: {', '.join(algorithm_names())}")
        check_repair(self.repair, self.explainer)


@dataclass(frozen=True)
class Found:
    """The outcome of one search with its evaluation."""

    graph: OperatorGraph
    accelerator: Accelerator
    wanted: Wanted
    result: SearchResult
    evaluation: PlanEvaluation
    groups_evaluated: int
    repair: RepairFacts

    @property
    def exit_code(self) -> int:
        """1 if a group does not fit: no valid answer."""
        return 0 if self.evaluation.valid else 1

    def facts(self) -> dict[str, Any]:
        """What a saved plan carries beside its groups; the same for the same seed, but for a bound cut off by time."""
        from tvm_fusion.cost_models.schemes.registry import chosen_schemes

        return {
            "accelerator": self.accelerator.to_json(),
            "algorithm": self.result.algorithm,
            "seed": self.result.seed,
            "schemes": list(chosen_schemes(self.wanted.scheme)),
            "objective": self.wanted.objective,
            "recompute": self.wanted.recompute,
            "budget_plans": self.wanted.budget_plans,
            "plans_proposed": self.result.plans_proposed,
            "optimal": self.result.optimal,
            "certificate": self.result.certificate,
            "lower_bound_dram_bytes": self.result.lower_bound_bytes,
            "bound_certificate": self.result.bound_certificate,
            "totals": self.evaluation.totals(),
            "repair": self.repair.name,
            "explainer": self.repair.explainer,
        }

    def save(self, path: Path) -> None:
        """Write the plan atomically."""
        from tvm_fusion.graph.plan_io import save_plan

        save_plan(path, self.result.plan, self.graph, **self.facts())

    def to_json(self) -> dict[str, Any]:
        """The saved plan and, for every group, its costs."""
        from tvm_fusion.graph.plan_io import plan_to_json

        data = plan_to_json(self.result.plan, self.graph, **self.facts())
        costs = self.evaluation.to_json()["groups"]
        data["groups"] = [group | cost for group, cost in zip(data["groups"], costs, strict=True)]
        seconds = {"seconds": self.result.seconds, "bound_seconds": self.result.bound_seconds}
        return data | seconds | {"repairs": self.repair.to_json()}

    def run_facts(self) -> RunFacts:
        """One run of a comparison."""
        from tvm_fusion.reports.comparison import RunFacts

        return RunFacts.of(
            self.evaluation,
            seed=self.result.seed,
            seconds=self.result.seconds,
            optimal=self.result.optimal,
            plans_proposed=self.result.plans_proposed,
            groups_evaluated=self.groups_evaluated,
        )

    def summary(self) -> str:
        """One line: algorithm, effort, and what is proven of the plan."""
        proof = "proven optimal over all acyclic partitions" if self.result.optimal else self._distance()
        if heuristics := self.result.certificate.get("chosen_by_heuristics"):
            proof += f" (with the choices that {' and '.join(heuristics)} found for each group)"
        ended = "" if self.result.ended_by == "finished" else f", ended by the {self.result.ended_by}"
        if self.result.ended_by == "interrupted":
            ended = ", interrupted: the best plan so far"
        return (
            f"{self.result.algorithm}, seed {self.result.seed}: {self.result.plans_proposed} plans, "
            f"{self.groups_evaluated} groups evaluated, {self.result.seconds:.1f} s{ended}; {proof}"
            f"{self.repair.summary()}"
        )

    def _distance(self) -> str:
        """How far from the optimum a plan may be that is not proven to be it."""
        from tvm_fusion.search.proof import most_above_percent

        if self.wanted.objective != "dram":
            return "not proven optimal"
        least = self.result.lower_bound_bytes
        percent = most_above_percent(self.result.network_dram_bytes, least)
        why = ", the compulsory traffic" if least == self.evaluation.compulsory_dram_bytes else ""
        return f"at most {percent:.2f} % above the optimum of its schemes (no plan moves less than {least} bytes{why})"


def is_seeded(name: str) -> bool:
    """Whether different seeds may give different plans."""
    return name not in _DETERMINISTIC


def find(graph: OperatorGraph, accelerator: Accelerator, wanted: Wanted) -> Found:
    """Search with a progress bar and evaluate the plan found; a fresh oracle, so that runs compare."""
    from tvm_fusion.cost_models.evaluation import evaluate_plan
    from tvm_fusion.cost_models.group_cache import GroupCache
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.explainers.repair import make_splitter
    from tvm_fusion.reports.progress import search_progress
    from tvm_fusion.reports.repair_facts import RepairFacts
    from tvm_fusion.search import search
    from tvm_fusion.search.explained_split import ExplainedSplit

    cache = None if wanted.cache is None else GroupCache.in_folder(wanted.cache, graph, accelerator)
    oracle = Oracle(graph, accelerator, wanted.scheme, wanted.objective, wanted.recompute, cache)
    splitter = make_splitter(wanted.repair, wanted.explainer, oracle, wanted.seed)
    if isinstance(splitter, ExplainedSplit) and splitter.explainer.remark:
        session.note(splitter.explainer.remark)
    with search_progress(wanted.algorithm, wanted.budget_plans, wanted.objective) as progress:
        result = search(
            graph,
            oracle,
            algorithm=wanted.algorithm,
            budget_plans=wanted.budget_plans,
            seed=wanted.seed,
            time_limit_seconds=wanted.seconds,
            progress=progress,
            splitter=splitter,
            bound_seconds=wanted.bound_seconds,
        )
    evaluated = oracle.evaluated
    evaluation = evaluate_plan(graph, result.plan, oracle)
    oracle.cache.save()
    repair = RepairFacts.of(splitter, result, wanted.explainer)
    return Found(graph, accelerator, wanted, result, evaluation, evaluated, repair)
