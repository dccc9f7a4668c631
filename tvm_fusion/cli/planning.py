"""One search as the command line runs it: oracle, progress bar, evaluation, and what is saved."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tvm_fusion.errors import SearchError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.cost_models.evaluation import PlanEvaluation
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.reports.comparison import RunFacts
    from tvm_fusion.reports.repair_facts import RepairFacts
    from tvm_fusion.search import SearchResult

# Algorithms whose answer no seed changes.
_DETERMINISTIC = ("exact", "interval-dp", "unfused")


@dataclass(frozen=True)
class Found:
    """The outcome of one search with its evaluation."""

    graph: OperatorGraph
    accelerator: Accelerator
    result: SearchResult
    evaluation: PlanEvaluation
    budget_plans: int
    groups_evaluated: int
    repair: RepairFacts

    @property
    def exit_code(self) -> int:
        """1 if a group does not fit: no valid answer."""
        return 0 if self.evaluation.valid else 1

    def facts(self) -> dict[str, Any]:
        """What a saved plan carries beside its groups; the same for the same seed."""
        return {
            "accelerator": self.accelerator.to_json(),
            "algorithm": self.result.algorithm,
            "seed": self.result.seed,
            "budget_plans": self.budget_plans,
            "plans_proposed": self.result.plans_proposed,
            "optimal": self.result.optimal,
            "certificate": self.result.certificate,
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
        return data | {"seconds": self.result.seconds, "repairs": self.repair.to_json()}

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
        """One line: algorithm, effort, and whether the plan is proven optimal."""
        proof = "proven optimal over all acyclic partitions" if self.result.optimal else "not proven optimal"
        ended = "" if self.result.ended_by == "finished" else f", ended by the {self.result.ended_by}"
        if self.result.ended_by == "interrupted":
            ended = ", interrupted: the best plan so far"
        return (
            f"{self.result.algorithm}, seed {self.result.seed}: {self.result.plans_proposed} plans, "
            f"{self.groups_evaluated} groups evaluated, {self.result.seconds:.1f} s{ended}; {proof}"
            f"{self.repair.summary()}"
        )


def check_algorithm(name: str, repair: str = "random", explainer: str = "random") -> None:
    """Raise SearchError or ExplainerError unless algorithm, repair and explainer are registered."""
    from tvm_fusion.explainers.repair import check_repair
    from tvm_fusion.search import algorithm_names

    if name not in algorithm_names():
        raise SearchError(f"algorithm {name!r} is unknown; allowed: {', '.join(algorithm_names())}")
    check_repair(repair, explainer)


def is_seeded(name: str) -> bool:
    """Whether different seeds may give different plans."""
    return name not in _DETERMINISTIC


def find(
    graph: OperatorGraph,
    accelerator: Accelerator,
    algorithm: str,
    budget: int,
    seed: int,
    seconds: float | None,
    repair: str = "random",
    explainer: str = "random",
) -> Found:
    """Search with a progress bar and evaluate the plan found; a fresh oracle, so that runs compare."""
    from tvm_fusion.cost_models.evaluation import evaluate_plan
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.explainers.repair import make_splitter
    from tvm_fusion.reports.progress import search_progress
    from tvm_fusion.reports.repair_facts import RepairFacts
    from tvm_fusion.search import search

    oracle = Oracle(graph, accelerator)
    splitter = make_splitter(repair, explainer, oracle, seed)
    with search_progress(algorithm, budget) as progress:
        result = search(
            graph,
            oracle,
            algorithm=algorithm,
            budget_plans=budget,
            seed=seed,
            time_limit_seconds=seconds,
            progress=progress,
            splitter=splitter,
        )
    evaluated = oracle.evaluated
    evaluation = evaluate_plan(graph, result.plan, oracle)
    return Found(graph, accelerator, result, evaluation, budget, evaluated, RepairFacts.of(splitter, result, explainer))
