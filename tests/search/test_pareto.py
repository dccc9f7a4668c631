"""Fronts: no known plan beats a point, weighted sums find the hull, and a larger buffer never moves more."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import HealthCheck, assume, event, given, settings
from hypothesis import strategies as st

from tests.graphs import chain
from tests.search.brute_force import partitions
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.objective import AGAINST, WeightedSum, make_objective
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.search.pareto import buffer_front, pareto_front
from tvm_fusion.search.problem import FusionProblem

SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@given(data=st.data(), graph=operator_graphs(max_operators=6), against=st.sampled_from(AGAINST))
@SOME
def test_no_plan_lies_beyond_the_hull(data: st.DataObject, graph: OperatorGraph, against: str) -> None:
    assume(len(graph) <= 6)
    oracle = Oracle(graph, data.draw(accelerators()), "auto")
    points = pareto_front(graph, oracle, against, most_points=50)
    event(f"{len(points)} points")
    assert all(point.optimal and point.evaluation.valid for point in points)
    for point, following in pairwise(points):
        assert point.dram_bytes < following.dram_bytes
        assert point.other > following.other
    other = make_objective(against, oracle.sizes, oracle.accelerator)
    # Weights of every side of the hull, and of its ends: brute force finds nothing below.
    sides = [(a.other - b.other, b.dram_bytes - a.dram_bytes) for a, b in pairwise(points)]
    for weights in [(1, 0), (1 << 60, 1), (1, 1 << 60), *sides]:
        problem = FusionProblem(graph, oracle.by(WeightedSum(weights[0], other, weights[1])))
        valid = (masks for masks in partitions(graph) if all(map(problem.valid, masks)))
        least = min(map(problem.plan_value, valid))
        assert least == min(weights[0] * point.dram_bytes + weights[1] * point.other for point in points)


@given(data=st.data(), graph=operator_graphs(max_operators=10))
@SOME
def test_a_larger_buffer_moves_less_or_is_left_out(data: st.DataObject, graph: OperatorGraph) -> None:
    sizes = data.draw(st.lists(st.integers(1, 5000), min_size=1, max_size=5))
    schemes = data.draw(st.sampled_from(["lbdf", "auto"]))
    points = buffer_front(graph, Accelerator(), sizes, lambda accelerator: Oracle(graph, accelerator, schemes))
    for point, following in pairwise(points):
        assert following.dram_bytes < point.dram_bytes
    for point in points:
        assert point.other <= max(sizes)
        fitting = Oracle(graph, Accelerator(buffer_bytes=max(1, point.other)), schemes)
        assert evaluate_plan(graph, point.plan, fitting).valid


def test_bad_fronts_are_refused() -> None:
    graph = chain(2)
    oracle = Oracle(graph, Accelerator())
    with pytest.raises(SearchError, match="'magic' is unknown; allowed: macs, energy, cycles"):
        pareto_front(graph, oracle, "magic")
    with pytest.raises(SearchError, match="front of 1 points"):
        pareto_front(graph, oracle, "macs", most_points=1)
