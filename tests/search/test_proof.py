"""What a search says of the distance to the optimum."""

from __future__ import annotations

import pytest

from tests.graphs import chain
from tests.search.networks import efficientnet_b3, parallel_chains
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.search import SearchResult, search
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.proof import most_above_percent, prove


def found(algorithm: str, bound_seconds: float | None, **how: str) -> SearchResult:
    graph = parallel_chains(3, 4)
    oracle = Oracle(graph, Accelerator(buffer_bytes=2000), **how)
    return search(graph, oracle, algorithm, budget_plans=40, bound_seconds=bound_seconds)


def test_the_optimum_is_its_own_bound() -> None:
    result = found("exact", 0.0)
    assert result.lower_bound_bytes == result.network_dram_bytes == result.certificate["lower_bound_bytes"]
    assert result.bound_certificate == result.certificate
    assert result.bound_seconds == 0


def test_without_time_the_compulsory_traffic() -> None:
    result = found("local-search", 0.0)
    assert (result.optimal, result.certificate, result.bound_certificate) == (False, {}, {})
    assert result.lower_bound_bytes == Oracle(parallel_chains(3, 4), Accelerator()).compulsory_dram_bytes


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_the_bound_proves_what_the_search_does_not(seconds: float | None) -> None:
    result, best = found("best", seconds), found("exact", 0.0).network_dram_bytes
    local = found("local-search", seconds)
    assert result.network_dram_bytes == best
    assert local.lower_bound_bytes == best
    assert local.optimal == (local.network_dram_bytes == best)
    assert local.bound_certificate["method"] == "prices of operators that no group undercuts"
    assert local.certificate == (local.bound_certificate if local.optimal else {})


@pytest.mark.parametrize("seconds", [None, 60.0])
def test_in_schemes_without_a_relaxation_the_ideals_prove_it(seconds: float | None) -> None:
    best = found("exact", 0.0, schemes="auto").network_dram_bytes
    local = found("unfused", seconds, schemes="auto")
    assert local.lower_bound_bytes == local.network_dram_bytes == best < local.history[0][2]
    assert local.bound_certificate == local.certificate
    assert local.certificate["method"] == "shortest path over the lattice of ideals"


def test_a_bound_by_ideals_that_ends_early_is_one_and_keeps_what_the_search_has_proven() -> None:
    graph = efficientnet_b3(64, stages=3)
    oracle = Oracle(graph, Accelerator(buffer_bytes=16_000), schemes="auto")
    problem, optimum = FusionProblem(graph, oracle), search(graph, oracle, "exact").network_dram_bytes
    none = prove(problem, problem.unfused, 1e-9)
    assert (none.lower_bound_bytes, none.optimal) == (oracle.compulsory_dram_bytes, False)
    assert prove(problem, problem.unfused, 1e-9, at_least=optimum - 1).lower_bound_bytes == optimum - 1
    path = IdealPath(problem, plan=problem.unfused, max_checks=200, steps=32)
    assert not path.solve()
    assert oracle.compulsory_dram_bytes < path.at_least <= optimum


def test_a_bound_without_a_time_limit_is_repeatable() -> None:
    assert found("random-search", None).bound_certificate == found("random-search", None).bound_certificate


def test_bytes_of_another_objective_have_the_compulsory_traffic() -> None:
    for algorithm in ("exact", "local-search"):
        result = found(algorithm, None, objective="energy")
        assert result.lower_bound_bytes == Oracle(parallel_chains(3, 4), Accelerator()).compulsory_dram_bytes
        assert result.bound_certificate == {}


@pytest.mark.parametrize("seconds", [-1.0, float("nan")])
def test_impossible_seconds(seconds: float) -> None:
    graph = chain(2)
    with pytest.raises(SearchError, match=f"bound seconds {seconds} are not allowed"):
        search(graph, Oracle(graph, Accelerator()), bound_seconds=seconds)


def test_percent_is_never_too_small() -> None:
    assert most_above_percent(100, 100) == 0
    assert most_above_percent(100_001, 100_000) == 0.01
    assert most_above_percent(110, 100) == 10
    assert most_above_percent(3, 0) == 300
