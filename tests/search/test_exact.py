"""The proven optimum is the optimum; its bound is one; it refuses what is too large."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from tests.graphs import chain, everything, residual_block, squeeze_and_excite
from tests.search.brute_force import optimum
from tests.search.networks import efficientnet_b3, parallel_chains
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.objective import OBJECTIVES
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.registry import scheme_names
from tvm_fusion.errors import SchemeError, SearchError
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members
from tvm_fusion.search import search
from tvm_fusion.search.growth import GrowthBound
from tvm_fusion.search.problem import FusionProblem


@settings(max_examples=80, deadline=None)
@given(operator_graphs(max_operators=7), accelerators())
def test_exact_is_the_optimum_over_all_acyclic_partitions(graph: OperatorGraph, accelerator: Accelerator) -> None:
    assume(len(graph) <= 8)
    problem = FusionProblem(graph, Oracle(graph, accelerator))
    best = optimum(problem)
    for name in ("exact", "best"):
        result = search(problem.graph, problem.oracle, name)
        assert result.network_dram_bytes == best
        assert result.optimal
        assert result.certificate["lower_bound_bytes"] == best
    assert search(problem.graph, problem.oracle, "interval-dp").network_dram_bytes >= best
    assert problem.oracle.compulsory_dram_bytes <= best <= problem.oracle.unfused_dram_bytes


# Every scheme alone, all, and some.
SCHEMES = st.sampled_from([*scheme_names(), "auto", "lbdf,brr"])


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_exact_is_the_optimum_in_every_scheme_and_objective(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=6))
    assume(len(graph) <= 6)
    schemes, objective = data.draw(SCHEMES), data.draw(st.sampled_from(OBJECTIVES))
    try:
        oracle = Oracle(graph, data.draw(accelerators()), schemes, objective, data.draw(st.booleans()))
    except SchemeError:
        reject()
    problem = FusionProblem(graph, oracle)
    result = search(graph, oracle, "exact")
    assert result.optimal
    assert problem.plan_value(result.plan.masks) == optimum(problem)
    costs = [oracle.cost_in(mask_of(g.operators), g.scheme, g.parameters) for g in result.plan.groups]
    assert costs == [oracle.cost(mask) for mask in result.plan.masks]
    assert result.network_dram_bytes == sum(cost.dram_bytes for cost in costs)


@settings(max_examples=200, deadline=None)
@given(operator_graphs(max_operators=14), accelerators(), st.randoms(use_true_random=False))
def test_growth_bound_is_sound_exact_in_dram_and_grows(
    graph: OperatorGraph, accelerator: Accelerator, random: Random
) -> None:
    problem = FusionProblem(graph, Oracle(graph, accelerator))
    bound = GrowthBound(problem)
    ready = [i for i in range(len(graph)) if not graph.predecessor_masks[i]]
    before = random.randrange(len(graph))
    ideal = group = needed = moved = needed_before = 0
    requirements: list[int] = []
    while ready:
        i = ready.pop(random.randrange(len(ready)))
        if ideal.bit_count() >= before:
            needed, moved = bound.add(group, needed, moved, i)
            group |= 1 << i
            cost = problem.oracle.model.cost(group)
            assert needed >= needed_before
            assert cost.dram_bytes == moved
            assert bound.total(group) == (needed, moved)
            # What is needed now is needed by every group that this one grows into.
            requirements.append(needed)
            assert all(bytes_ <= cost.buffer_bytes for bytes_ in requirements)
            needed_before = needed
        ideal |= 1 << i
        ready += [c for c in members(graph.successor_masks[i]) if not graph.predecessor_masks[c] & ~ideal]


@pytest.mark.parametrize("graph", [chain(3), residual_block(), squeeze_and_excite()])
def test_everything_in_one_group_when_the_buffer_is_large(graph: OperatorGraph) -> None:
    oracle = Oracle(graph, Accelerator(buffer_bytes=10**9))
    result = search(graph, oracle, "exact")
    assert result.plan.masks == (everything(graph),)
    assert result.network_dram_bytes == oracle.compulsory_dram_bytes


def test_efficientnet_b3_is_solved_and_proven_within_its_time() -> None:
    graph = efficientnet_b3()
    result = search(graph, Oracle(graph, Accelerator()), "exact")
    assert result.optimal
    assert result.network_dram_bytes == result.certificate["lower_bound_bytes"] <= 41_700_000
    assert result.certificate["ideals"] == len(graph) + 1
    assert result.plans_proposed == 1
    assert result.seconds < 10


def test_too_many_ideals_are_refused_with_a_way_out() -> None:
    graph = parallel_chains(6, 6)  # 7**6 + 1 ideals
    oracle = Oracle(graph, Accelerator())
    with pytest.raises(SearchError, match=r"more than 100000 ideals.*'interval-dp' or 'best'"):
        search(graph, oracle, "exact")
    result = search(graph, oracle, "best", budget_plans=20)
    assert not result.optimal
    assert result.certificate == {}
    assert result.network_dram_bytes < oracle.unfused_dram_bytes


def test_branches_with_few_ideals_are_solved() -> None:
    graph = parallel_chains(3, 4)
    oracle = Oracle(graph, Accelerator(buffer_bytes=2000))
    exact = search(graph, oracle, "exact")
    assert exact.certificate["ideals"] == 5**3 + 1
    for name in ("interval-dp", "local-search", "nsga2"):
        assert search(graph, oracle, name, budget_plans=300).network_dram_bytes >= exact.network_dram_bytes
