"""One method on one network: what it is asked for, and what it gives."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from benchmarks import peers_ours as ours
from benchmarks import zoo
from benchmarks.explain import RANDOM, RANDOM_EDGES, explainer_of
from benchmarks.many_ideals import RANDWIRED, randomly_wired
from benchmarks.peers_blocks import blocks
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError, SearchError
from tvm_fusion.explainers.registry import check_explainer
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.search.exact import IDEAL_LIMIT
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.problem import FusionProblem

Row = dict[str, Any]
UNFUSED, FUSE_OPS, BLOCKS = "unfused", "FuseOps", "a group a block"
LIMIT_SECONDS = 240.0  # of one run


@dataclass(frozen=True)
class Case:
    """A network with the schemes and the accelerator (``buffer`` of a preset) that it is planned for."""

    network: str
    buffer: str
    schemes: str = "lbdf"
    accelerator: str = "edge"


@dataclass(frozen=True)
class Run:
    """One method on one case. Groupings of others have no ``repair`` and no ``budget_plans``."""

    case: Case
    method: str
    repair: str = ""
    budget_plans: int = 0
    seed: int = 0

    def key(self) -> Row:
        """The fields of its row that name it."""
        return {**asdict(self.case), **{k: v for k, v in vars(self).items() if k != "case"}}

    @staticmethod
    def of(row: Row) -> Run:
        """The run that a row is of."""
        case = Case(*(row[key] for key in ("network", "buffer", "schemes", "accelerator")))
        return Run(case, *(row[key] for key in ("method", "repair", "budget_plans", "seed")))


class Subject:
    """A network by name or file, ``randwired``, a name of the zoo or a saved graph; loaded when it is needed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.family, self.source = zoo.networks().get(name, ("", name))

    @cached_property
    def _loaded(self) -> tuple[OperatorGraph, list[int] | None]:
        if self.name == RANDWIRED:
            return randomly_wired(), None
        if self.source.endswith(".json"):
            return session.load_graph(self.source, 1, verbose=False), None
        from tvm_fusion.cli import building
        from tvm_fusion.passes.fuse_ops_grouping import fuse_ops_grouping

        with session.quiet(verbose=False):
            network = building.load(self.source, 1, seed=0)
            return network.graph, [*fuse_ops_grouping(network.module).masks]

    @property
    def graph(self) -> OperatorGraph:
        """Its operators."""
        return self._loaded[0]

    @property
    def fuse_ops(self) -> list[int] | None:
        """The groups of TVM's FuseOps; None for a graph without a module."""
        return self._loaded[1]

    def facts(self) -> Row:
        """Operators, ideals (None: more than ``exact`` takes) and the kind of graph."""
        problem = FusionProblem(self.graph, Oracle(self.graph, options.accelerator_of(None), "lbdf"))
        found = ideals_by_size(problem, IDEAL_LIMIT, lambda: False)
        ideals = None if found is None else len(found)
        return {
            "family": self.family, "operators": len(self.graph), "ideals": ideals, "kind": kind(self.graph, ideals),
        }  # fmt: skip


def kind(graph: OperatorGraph, ideals: int | None) -> str:
    """ "chain" and "skips" (a tensor has several readers) have one topological order, and so one ideal more than
    operators; "branches" have more; "many paths" too many to count."""
    if ideals is None:
        return "many paths"
    if ideals > len(graph) + 1:
        return "branches"
    return "skips" if any(len(readers) > 1 for readers in graph.consumers.values()) else "chain"


def check_repair(name: str) -> None:
    """Raise ExplainerError for a repair that is neither of the random ones nor an explainer."""
    if name not in (RANDOM, RANDOM_EDGES):
        check_explainer(name)


def execute(run: Run, subject: Subject) -> Row | None:
    """The row of a run; None where a network brings nothing to group. Raises FusionError for a plan that is invalid."""
    hardware = options.accelerator_of(run.case.accelerator, run.case.buffer)
    if not run.repair:
        found = _grouped(run, subject, Oracle(subject.graph, hardware, run.case.schemes))
        return None if found is None else run.key() | {"network_dram_bytes": found["dram_bytes"], "seconds": 0.0}
    repair = (RANDOM, "random") if run.repair == RANDOM else ("explained", explainer_of(run.repair))
    # "best" as the command line runs it: where it proves nothing, with a bound, whose groups may make a better plan.
    bound_seconds = None if run.method == "best" else 0.0
    wanted = planning.Wanted(
        algorithm=run.method,
        budget_plans=run.budget_plans,
        seed=run.seed,
        seconds=LIMIT_SECONDS,
        repair=repair[0],
        explainer=repair[1],
        scheme=run.case.schemes,
        bound_seconds=bound_seconds,
    )
    try:
        found = planning.find(subject.graph, hardware, wanted)
    except SearchError as error:
        if run.method != "exact":
            raise
        return run.key() | {"network_dram_bytes": None, "problem": str(error)}
    if not found.evaluation.valid:
        raise FusionError(f"{run.case.network}: the plan of {run.method} has a group that does not fit")
    result = found.result
    return run.key() | {
        "network_dram_bytes": result.network_dram_bytes, "seconds": round(result.seconds + result.bound_seconds, 3),
        "plans_proposed": result.plans_proposed, "ended_by": result.ended_by, "optimal": result.optimal,
        "lower_bound_bytes": result.lower_bound_bytes,
    }  # fmt: skip


def _grouped(run: Run, subject: Subject, oracle: Oracle) -> Row | None:
    graph = subject.graph
    if run.method == UNFUSED:
        return {"dram_bytes": oracle.unfused_dram_bytes}
    if run.method == FUSE_OPS:
        masks = subject.fuse_ops
        if masks is None:
            return None
        return ours.scored(graph, oracle, masks, {mask: ours.operator_by_operator(oracle, mask) for mask in masks})
    masks = blocks(graph)
    line_buffers = Oracle(graph, oracle.accelerator, "lbdf")
    parts = {mask: ours.cut_cheaply(oracle, line_buffers, mask) for mask in masks}
    return ours.scored(graph, oracle, masks, parts)
