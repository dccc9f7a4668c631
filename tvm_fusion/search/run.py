"""search(): run one algorithm on one graph and keep the best plan, whatever ends it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.search.algorithm import Algorithm
from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.proof import Proof, prove
from tvm_fusion.search.random_split import RandomSplit
from tvm_fusion.search.registry import algorithm_factory
from tvm_fusion.search.split import RepairCounts, Splitter
from tvm_fusion.search.termination import Termination

# Called with the plans proposed so far and the objective's value of the best one.
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class SearchResult:
    """The best plan of a search. ``history`` has (plans proposed, seconds, value) of every improvement, the value being
    the objective's: DRAM bytes, pJ or cycles.

    ``optimal`` says that the plan is proven to be the optimum; ``certificate`` what the proof rests on. No plan of the
    oracle's schemes moves less than ``lower_bound_bytes``; ``bound_certificate`` says why, without one because this is
    the compulsory traffic. It took ``bound_seconds`` beside the ``seconds`` of the search.
    ``repair`` counts what became of the invalid groups met (see RepairCounts), ``oracle_seconds`` is the time spent
    on new groups. ``ended_by``: the algorithm itself ("finished"), the "budget", the "time limit", or "interrupted".
    """

    plan: PartitionPlan
    network_dram_bytes: int
    algorithm: str
    seed: int
    plans_proposed: int
    seconds: float
    optimal: bool
    certificate: dict[str, Any]
    history: list[tuple[int, float, int]]
    ended_by: Literal["finished", "budget", "time limit", "interrupted"] = "finished"
    repair: RepairCounts = field(default_factory=RepairCounts)
    oracle_seconds: float = 0.0
    lower_bound_bytes: int = 0
    bound_certificate: dict[str, Any] = field(default_factory=dict)
    bound_seconds: float = 0.0


def search(
    graph: OperatorGraph,
    oracle: Oracle,
    algorithm: str = "best",
    budget_plans: int = 1000,
    seed: int = 0,
    time_limit_seconds: float | None = None,
    progress: Progress | None = None,
    splitter: Splitter | None = None,
    clock: Callable[[], float] = time.perf_counter,
    bound_seconds: float | None = 0.0,
) -> SearchResult:
    """The best plan that ``algorithm`` finds within a budget of plans and, if given, of seconds.

    Every complete plan that it proposes counts. ``progress`` is called with the plans proposed so far and the
    objective's value of the best one (DRAM bytes, pJ or cycles). Ctrl-C and the time limit end the search with the best
    plan so far; before the first one that is the unfused plan, which is always valid. ``splitter`` repairs invalid
    groups (default: at random); ``clock`` counts the seconds. The same seed gives the same plan, unless the time limit
    ends the search. Where the search itself proves nothing, ``bound_seconds`` are spent on a lower bound afterwards
    (None: a fixed amount of work, ten seconds or so at most). That may prove the plan optimal, or give a better one.

    Raises SearchError for an unknown algorithm, an impossible budget, time limit or seed, a graph
    without operators or with too many ideals for ``exact``.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise SearchError(f"seed {seed!r} is not allowed; it must be a whole number from 0")
    if bound_seconds is not None and not bound_seconds >= 0:  # also refuses NaN
        raise SearchError(f"bound seconds {bound_seconds!r} are not allowed; they must be 0 (no bound) or more")
    termination = Termination(budget_plans, time_limit_seconds, clock)
    factory = algorithm_factory(algorithm)
    problem = FusionProblem(graph, oracle)
    run = _Run(problem, termination, progress)
    splitter = splitter or RandomSplit()
    oracle_seconds = oracle.seconds
    try:
        running = factory(problem, np.random.default_rng(seed), splitter, termination.out_of_time)
        run.until_the_end(running)
    except KeyboardInterrupt:
        run.ended_by = "interrupted"
    seconds, oracle_seconds = termination.seconds, oracle.seconds - oracle_seconds
    proven = run.ended_by != "interrupted" and run.optimal
    moved = sum(oracle.cost(mask).dram_bytes for mask in run.best)
    if proven:
        by_bytes = oracle.objective.name == "dram"
        proof = Proof(moved if by_bytes else oracle.compulsory_dram_bytes, True, run.certificate if by_bytes else {})
    else:
        seconds_left = 0.0 if run.ended_by == "interrupted" else bound_seconds
        proof = prove(problem, run.best, seconds_left, run.at_least)
        if oracle.objective.name == "dram" and run.at_least > proof.lower_bound_bytes:
            proof = replace(proof, lower_bound_bytes=run.at_least, certificate=run.certificate)
    if proof.better is not None:
        run.best = proof.better
        run.history.append((termination.proposed, termination.seconds, problem.plan_value(run.best)))
    best = PartitionPlan.from_masks(graph, run.best, algorithm=algorithm, seed=seed)
    costs = [oracle.cost(mask) for mask in best.masks]
    groups = tuple(Group(cost.operators, cost.scheme, cost.parameters) for cost in costs)
    return SearchResult(
        plan=PartitionPlan(groups, best.metadata),
        network_dram_bytes=sum(cost.dram_bytes for cost in costs),
        algorithm=algorithm,
        seed=seed,
        plans_proposed=termination.proposed,
        seconds=seconds,
        optimal=proof.optimal,
        certificate=run.certificate if proven else proof.certificate if proof.optimal else {},
        history=run.history,
        ended_by=run.ended_by,
        repair=splitter.counts,
        oracle_seconds=oracle_seconds,
        lower_bound_bytes=proof.lower_bound_bytes,
        bound_certificate=proof.certificate,
        bound_seconds=proof.seconds,
    )


@dataclass
class _Run:
    """The loop of asking and telling, with the best plan so far and its value (the objective's)."""

    problem: FusionProblem
    termination: Termination
    progress: Progress | None
    ended_by: Literal["finished", "budget", "time limit", "interrupted"] = "finished"
    optimal: bool = False
    certificate: dict[str, Any] = field(default_factory=dict)
    history: list[tuple[int, float, int]] = field(default_factory=list)
    at_least: int = 0
    best: Partition = ()
    best_value: int = 0

    def __post_init__(self) -> None:
        self.best = self.problem.unfused
        self.best_value = self.problem.plan_value(self.best)

    def until_the_end(self, algorithm: Algorithm) -> None:
        """Ask and tell until the algorithm, the budget or the time is at its end."""
        termination = self.termination
        while not algorithm.finished:
            if termination.left <= 0:
                self.ended_by = "budget"
                break
            if termination.out_of_time():
                self.ended_by = "time limit"
                break
            asked = algorithm.ask(termination.left)
            if not asked:
                break
            if len(asked) > termination.left:
                raise SearchError(f"algorithm proposed {len(asked)} plans where {termination.left} were left")
            found = [self._propose(partition) for partition in asked]
            algorithm.tell(asked, found)
        if termination.out_of_time() and not algorithm.optimal:
            self.ended_by = "time limit"
        self.optimal, self.certificate = algorithm.optimal, algorithm.certificate
        self.at_least = algorithm.at_least

    def _propose(self, partition: Partition) -> int:
        value = self.problem.plan_value(partition)
        self.termination.proposed += 1
        if value < self.best_value or not self.history:
            if value <= self.best_value:
                self.best, self.best_value = partition, value
            self.history.append((self.termination.proposed, self.termination.seconds, self.best_value))
        if self.progress is not None:
            self.progress(self.termination.proposed, self.best_value)
        return value
