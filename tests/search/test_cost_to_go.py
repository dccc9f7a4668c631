"""What moves after an ideal is never below the bound, and the optimum with it is the optimum without."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, assume, given, reject, settings
from hypothesis import strategies as st

from tests.graphs import chain
from tests.search.networks import efficientnet_b3
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.registry import scheme_names
from tvm_fusion.errors import SchemeError
from tvm_fusion.graph.bottlenecks import behind, bottlenecks
from tvm_fusion.search import ideal_path
from tvm_fusion.search.algorithm import never
from tvm_fusion.search.cost_to_go import CostToGo
from tvm_fusion.search.group_growth import GroupGrowth
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.ideals import ideals_by_size
from tvm_fusion.search.problem import FusionProblem

HEALTH = list(HealthCheck)
SCHEMES = st.sampled_from([*scheme_names(), "auto", "lbdf,brr"])


def true_costs(problem: FusionProblem) -> dict[int, int]:
    """By ideal the least that moves after it, by trying every group between two ideals."""
    ideals = ideals_by_size(problem, 10_000, never)
    assert ideals is not None
    found = {problem.everything: 0}
    for ideal in sorted(ideals, key=lambda ideal: -ideal.bit_count()):
        for larger in [larger for larger in found if larger & ideal == ideal != larger]:
            group = larger ^ ideal
            if problem.graph.is_connected(group) and problem.valid(group):
                value = problem.group_value(group) + found[larger]
                found[ideal] = min(found.get(ideal, value), value)
    return found


def check(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=7, chains=data.draw(st.booleans())))
    assume(2 < len(graph) <= 9)
    assume(bottlenecks(graph))
    try:
        oracle = Oracle(graph, data.draw(accelerators()), data.draw(SCHEMES), recompute=data.draw(st.booleans()))
    except SchemeError:
        reject()
    problem = FusionProblem(graph, oracle)
    growth, true = GroupGrowth(problem), true_costs(problem)
    to_go = CostToGo(problem, growth)
    to_go.search(problem.unfused, data.draw(st.sampled_from((None, None, 3))))
    for ideal, least in true.items():
        assert to_go.least_bytes(ideal) <= least
    path = IdealPath(problem, growth=growth, to_go=to_go.least_bytes)
    assert path.refute(1 + true[0] // 50)
    assert path.at_least == true[0] == problem.plan_value(path.partition())


@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=HEALTH)
@given(st.data())
def test_bounds_of_random_graphs(data: st.DataObject) -> None:
    check(data)


@pytest.mark.slow
@settings(max_examples=3000, deadline=None, suppress_health_check=HEALTH)
@given(st.data())
def test_bounds_of_many_random_graphs(data: st.DataObject) -> None:
    check(data)


def test_a_chain_has_bottlenecks_everywhere() -> None:
    graph = chain(6)
    assert bottlenecks(graph) == [0, 1, 2, 3, 4]
    rest = behind(graph, 3)
    assert [op.name for op in rest.operators] == [op.name for op in graph.operators[3:]]
    assert rest.operators[0].inputs == ()
    assert rest.operators[0].shape == graph.operators[3].shape
    assert rest.outputs == (len(rest) - 1,)


def test_exact_takes_them_where_checks_run_out(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = efficientnet_b3(size=64, stages=3)
    problem = FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=24 * 1024), "auto"))
    plain = IdealPath(problem)
    assert plain.solve()
    assert plain.to_go is None
    monkeypatch.setattr(ideal_path, "_CHECKS_BEFORE_CUTS", 10)
    path = IdealPath(problem)
    assert path.solve()
    assert path.to_go is not None
    assert path.at_least == plain.at_least
    assert path.to_go(0) > problem.oracle.compulsory_dram_bytes
    few = IdealPath(problem, max_checks=300)
    assert not few.solve()
    assert problem.oracle.compulsory_dram_bytes <= few.at_least <= plain.at_least
