"""What holds for every algorithm: valid plans, the budget, the seed, and the ways in which a search ends."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.search.networks import efficientnet_b3
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.plan import check_plan
from tvm_fusion.search import algorithm_names, search

NAMES = ["best", "exact", "interval-dp", "local-search", "nsga2", "random-search", "unfused"]
PROPOSING = ["local-search", "nsga2", "random-search"]


def test_names_are_ours() -> None:
    assert algorithm_names()[: len(NAMES)] == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_plan_is_valid_and_its_cost_is_right(name: str, b3_start: OperatorGraph, b3_start_oracle: Oracle) -> None:
    result = search(b3_start, b3_start_oracle, name, budget_plans=60)
    check_plan(b3_start, result.plan)
    evaluation = evaluate_plan(b3_start, result.plan, b3_start_oracle)
    assert evaluation.valid
    assert evaluation.network_dram_bytes == result.network_dram_bytes <= b3_start_oracle.unfused_dram_bytes
    assert result.plan.metadata["algorithm"] == result.algorithm == name
    assert result.history[-1][2] == result.network_dram_bytes
    assert all(a[0] < b[0] and a[1] <= b[1] and a[2] > b[2] for a, b in pairwise(result.history))


@settings(max_examples=60, deadline=None)
@given(operator_graphs(), accelerators(), st.sampled_from(NAMES))
def test_small_graphs_with_branches(graph: OperatorGraph, accelerator: Accelerator, name: str) -> None:
    oracle = Oracle(graph, accelerator)
    result = search(graph, oracle, name, budget_plans=25)
    assert evaluate_plan(graph, result.plan, oracle).valid
    assert 1 <= result.plans_proposed <= 25


@pytest.mark.parametrize("budget", [1, 7, 33])
@pytest.mark.parametrize("name", PROPOSING)
def test_budget_is_respected_exactly(name: str, budget: int, b3_start: OperatorGraph, b3_start_oracle: Oracle) -> None:
    seen: list[int] = []
    result = search(b3_start, b3_start_oracle, name, budget_plans=budget, progress=lambda plans, _: seen.append(plans))
    assert result.plans_proposed == budget
    assert seen == list(range(1, budget + 1))
    assert result.ended_by == "budget"


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_same_plan(name: str, b3_start: OperatorGraph) -> None:
    first, second, other = (
        search(b3_start, Oracle(b3_start, Accelerator()), name, budget_plans=50, seed=seed) for seed in (3, 3, 4)
    )
    assert first.plan == second.plan
    assert [h[::2] for h in first.history] == [h[::2] for h in second.history]
    if name in PROPOSING:
        assert first.plan != other.plan


def test_same_seed_same_plan_in_other_processes() -> None:
    code = (
        "from tests.search.networks import efficientnet_b3 as net\n"
        "from tvm_fusion.cost_models.accelerator import Accelerator\n"
        "from tvm_fusion.cost_models.oracle import Oracle\n"
        "from tvm_fusion.search import search\n"
        "graph = net(stages=2)\n"
        f"for name in {NAMES}:\n"
        "    print(search(graph, Oracle(graph, Accelerator()), name, budget_plans=40, seed=1).plan.masks)\n"
    )
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": str(k), "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for k in (1, 2)
    ]
    assert outputs[0] == outputs[1]
    assert len(outputs[0].splitlines()) == len(NAMES)


@pytest.mark.parametrize("name", PROPOSING)
def test_time_limit_keeps_the_best_plan(name: str, b3_start: OperatorGraph, b3_start_oracle: Oracle) -> None:
    search(b3_start, b3_start_oracle, name, budget_plans=1)  # imports are not the search's time
    result = search(b3_start, b3_start_oracle, name, budget_plans=10**9, time_limit_seconds=0.3)
    assert 0.3 <= result.seconds < 3
    assert result.ended_by == "time limit"
    assert result.network_dram_bytes < b3_start_oracle.unfused_dram_bytes


@pytest.mark.parametrize("name", ["best", "exact", "interval-dp"])
def test_time_limit_ends_the_proofs(name: str) -> None:
    graph = efficientnet_b3(stages=3)
    oracle = Oracle(graph, Accelerator())
    result = search(graph, oracle, name, time_limit_seconds=1e-9)
    assert not result.optimal
    assert result.certificate == {}
    assert result.ended_by == "time limit"
    assert evaluate_plan(graph, result.plan, oracle).valid


@pytest.mark.parametrize("name", PROPOSING)
def test_ctrl_c_keeps_the_best_plan(name: str, b3_start: OperatorGraph, b3_start_oracle: Oracle) -> None:
    best: list[int] = []

    def interrupt(plans: int, best_value: int) -> None:
        best.append(best_value)
        if plans == 25:
            raise KeyboardInterrupt

    result = search(b3_start, b3_start_oracle, name, progress=interrupt)
    assert result.ended_by == "interrupted"
    assert result.plans_proposed == 25
    assert result.network_dram_bytes == best[-1] == min(best)
    assert evaluate_plan(b3_start, result.plan, b3_start_oracle).valid


def test_ctrl_c_before_the_first_plan_leaves_the_unfused_one(
    b3_start: OperatorGraph, b3_start_oracle: Oracle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tvm_fusion.search import exact

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(exact, "ideals_by_size", interrupt)
    result = search(b3_start, b3_start_oracle, "exact")
    assert result.network_dram_bytes == b3_start_oracle.unfused_dram_bytes
    assert result.plans_proposed == 0
    assert not result.optimal


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"algorithm": "anneal"}, r"algorithm 'anneal' is unknown; allowed: best, exact, interval-dp"),
        ({"budget_plans": 0}, "budget 0 is not allowed; it must be at least 1 plan"),
        ({"budget_plans": -3}, "budget -3 is not allowed"),
        ({"time_limit_seconds": 0}, "time limit 0 is not allowed"),
        ({"time_limit_seconds": float("nan")}, "time limit nan is not allowed"),
        ({"seed": -1}, "seed -1 is not allowed"),
    ],
)
def test_bad_input(
    arguments: dict[str, object], message: str, b3_start: OperatorGraph, b3_start_oracle: Oracle
) -> None:
    with pytest.raises(SearchError, match=message):
        search(b3_start, b3_start_oracle, **arguments)  # type: ignore[arg-type]


def test_oracle_of_another_network(b3_start_oracle: Oracle) -> None:
    with pytest.raises(SearchError, match="the oracle is for network"):
        search(efficientnet_b3(stages=1), b3_start_oracle)


@pytest.mark.parametrize("name", ["local-search", "nsga2"])
def test_efficientnet_b3_comes_near_the_optimum(name: str) -> None:
    graph = efficientnet_b3()
    oracle = Oracle(graph, Accelerator())
    result = search(graph, oracle, name, budget_plans=2500, seed=int(np.random.default_rng(0).integers(100)))
    assert result.network_dram_bytes <= 42_300_000
