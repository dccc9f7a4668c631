"""Outcomes of searches side by side: one row an algorithm, one run a seed."""

from __future__ import annotations

import statistics
from dataclasses import asdict, dataclass
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import PlanEvaluation, evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan


@dataclass(frozen=True, slots=True)
class RunFacts:
    """One plan that an algorithm ended with; bytes are DRAM bytes, ``seconds`` are of the search."""

    seed: int
    network_dram_bytes: int
    fusable_dram_bytes: int
    unfused_dram_bytes: int
    compulsory_dram_bytes: int
    groups: int
    seconds: float
    optimal: bool
    valid: bool
    plans_proposed: int = 0
    groups_evaluated: int = 0

    @classmethod
    def of(cls, evaluation: PlanEvaluation, *, seed: int, seconds: float, optimal: bool, **facts: int) -> RunFacts:
        """The facts of a run from the evaluation of its plan."""
        return cls(
            seed=seed,
            network_dram_bytes=evaluation.network_dram_bytes,
            fusable_dram_bytes=evaluation.fusable_dram_bytes,
            unfused_dram_bytes=evaluation.unfused_dram_bytes,
            compulsory_dram_bytes=evaluation.compulsory_dram_bytes,
            groups=len(evaluation.costs),
            seconds=seconds,
            optimal=optimal,
            valid=evaluation.valid,
            **facts,
        )


@dataclass(frozen=True, slots=True)
class ComparisonRow:
    """The runs of one algorithm, at least one."""

    algorithm: str
    runs: tuple[RunFacts, ...]

    @property
    def best(self) -> RunFacts:
        """The valid run that moves least (the first of equal ones)."""
        return min(self.runs, key=lambda run: (not run.valid, run.network_dram_bytes))

    @property
    def mean_bytes(self) -> float:
        """Mean of the network's DRAM bytes over the seeds."""
        return statistics.fmean(run.network_dram_bytes for run in self.runs)

    @property
    def spread_bytes(self) -> int:
        """Largest minus smallest network DRAM bytes over the seeds."""
        moved = [run.network_dram_bytes for run in self.runs]
        return max(moved) - min(moved)

    @property
    def saving(self) -> float:
        """Part of the unfused DRAM bytes that the mean run does not move."""
        return 1 - self.mean_bytes / self.runs[0].unfused_dram_bytes

    @property
    def mean_seconds(self) -> float:
        """Mean seconds of a search."""
        return statistics.fmean(run.seconds for run in self.runs)

    def to_json(self) -> dict[str, Any]:
        """The row with every run."""
        return {
            "algorithm": self.algorithm,
            "network_dram_bytes": {
                "mean": self.mean_bytes,
                "min": self.best.network_dram_bytes,
                "max": max(run.network_dram_bytes for run in self.runs),
            },
            "saving": self.saving,
            "seconds": self.mean_seconds,
            "runs": [asdict(run) for run in self.runs],
        }


def unfused_row(graph: OperatorGraph, accelerator: Accelerator) -> ComparisonRow:
    """Every operator alone: what the others are compared with."""
    plan = PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])
    evaluation = evaluate_plan(graph, plan, Oracle(graph, accelerator))
    return ComparisonRow("unfused", (RunFacts.of(evaluation, seed=0, seconds=0.0, optimal=False),))
