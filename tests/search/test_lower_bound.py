"""The lower bound is never above the optimum, grows, and reaches it where nothing is in the way."""

from __future__ import annotations

from math import inf

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import chain, squeeze_and_excite
from tests.search.brute_force import optimum
from tests.search.networks import efficientnet_b3, parallel_chains
from tests.strategies import accelerators, convex_hull, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import members
from tvm_fusion.search import search
from tvm_fusion.search.any_requirement import AnyRequirement
from tvm_fusion.search.certain_prices import certain_prices
from tvm_fusion.search.group_programme import GroupProgramme
from tvm_fusion.search.group_roots import group_roots
from tvm_fusion.search.lower_bound import LowerBound
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.requirement import Requirement
from tvm_fusion.search.requirements import requirement_of

NODES = 100


class WeightsOnly:
    """A requirement of the tests: weights alone, in a buffer of its own."""

    def __init__(self, problem: FusionProblem, buffer_bytes: int) -> None:
        self._weight_bytes = problem.oracle.sizes.weight_bytes
        self._part = 1 / buffer_bytes

    def added_bytes(self, i: int) -> int:
        return self._weight_bytes[i]

    needed_bytes = added_bytes

    def ways(self, programme: GroupProgramme) -> list[int]:
        way = programme.variable(whole=True)
        terms = [(variable, self._weight_bytes[i] * self._part) for i, variable in programme.member.items()]
        programme.at_most_if(way, terms, 1)
        return [way]


def small_problems(
    buffers: st.SearchStrategy[Accelerator], schemes: st.SearchStrategy[str] | None = None
) -> st.SearchStrategy[FusionProblem]:
    graphs = operator_graphs(max_operators=7).filter(lambda graph: len(graph) <= 8)
    return st.builds(
        lambda graph, accelerator, names: FusionProblem(graph, Oracle(graph, accelerator, schemes=names)),
        graphs,
        buffers,
        st.just("lbdf") if schemes is None else schemes,
    )


SCHEMES = st.sampled_from(("lbdf", "brr", "lbdf,brr"))


def groups_of_several(problem: FusionProblem) -> list[int]:
    """All valid groups of at least two operators of a small problem."""
    graph = problem.graph
    masks = [m for m in range(1, problem.everything + 1) if m & (m - 1) and convex_hull(graph, m) == m]
    return [m for m in masks if graph.is_connected(m) and problem.valid(m)]


def programme_of(problem: FusionProblem, requirement: Requirement, root: int, domain: int) -> GroupProgramme:
    programme = GroupProgramme(problem, root, domain)
    programme.require(requirement)
    return programme


def price_of(prices: list[int], mask: int) -> int:
    return sum(prices[i] for i in members(mask))


@settings(max_examples=80, deadline=None)
@given(small_problems(accelerators(), SCHEMES))
def test_never_above_the_optimum_and_never_falls(problem: FusionProblem) -> None:
    best = optimum(problem)
    bound = LowerBound(problem)
    before = problem.oracle.compulsory_dram_bytes
    for _ in range(30):
        assert before <= bound.bytes <= best
        before = bound.bytes
        if not bound.improve():
            break
    assert before <= bound.bytes <= best
    assert bound.finished
    assert bound.certificate()["lower_bound_bytes"] == bound.bytes


@settings(max_examples=30, deadline=None)
@given(small_problems(accelerators()))
def test_the_same_work_gives_the_same_bound(problem: FusionProblem) -> None:
    found = []
    for _ in range(2):
        bound = LowerBound(problem, groups=[problem.everything])
        bound.improve()
        bound.improve()
        found.append(bound.certificate())
    assert found[0] == found[1]


@settings(max_examples=80, deadline=None)
@given(small_problems(accelerators(), SCHEMES), st.data())
def test_no_group_gains_more_than_its_programme_says(problem: FusionProblem, data: st.DataObject) -> None:
    prices = [data.draw(st.integers(0, 2 * problem.group_value(1 << i))) for i in range(problem.size)]
    groups = groups_of_several(problem)
    requirement = requirement_of(problem)
    assert requirement is not None
    alone = sum(1 << i for i in range(problem.size) if requirement.needed_bytes(i) > problem.buffer_bytes)
    assert not any(mask & alone for mask in groups)
    assert all(price_of(certain_prices(problem, alone), mask) <= problem.group_value(mask) for mask in groups)
    left = set(groups)
    for root, domain in group_roots(problem, requirement, alone):
        here = [mask for mask in groups if mask >> root & 1 and not mask & ~domain]
        left -= set(here)
        best = programme_of(problem, requirement, root, domain).best(prices, NODES, None)
        gains = [price_of(prices, mask) - problem.group_value(mask) for mask in here]
        assert best.gain_bytes is not None or not here
        assert max(gains, default=-inf) <= (-inf if best.gain_bytes is None else best.gain_bytes)
    assert not left, "every group is in the domain of its last operator"


@settings(max_examples=40, deadline=None)
@given(small_problems(st.just(Accelerator(buffer_bytes=10**7))), st.integers(1, 200), st.integers(1, 200), st.data())
def test_any_of_two_requirements_allows_what_either_allows(
    problem: FusionProblem, first: int, second: int, data: st.DataObject
) -> None:
    prices = [data.draw(st.integers(0, 5000)) for _ in range(problem.size)]
    both = [WeightsOnly(problem, first), WeightsOnly(problem, second)]
    for root in range(problem.size):
        domain = problem.everything
        either = [programme_of(problem, one, root, domain).best(prices, NODES, None).gain_bytes for one in both]
        any_ = programme_of(problem, AnyRequirement(both), root, domain).best(prices, NODES, None).gain_bytes
        assert any_ == max((gain for gain in either if gain is not None), default=None)


@pytest.mark.parametrize("buffer_bytes", [700, 1500, 4000])
def test_tight_on_a_chain(buffer_bytes: int) -> None:
    graph = chain(12)
    problem = FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=buffer_bytes)))
    bound = LowerBound(problem)
    while bound.improve():
        pass
    best = search(graph, problem.oracle, "exact").network_dram_bytes
    assert problem.oracle.compulsory_dram_bytes < bound.bytes == best


def test_a_gate_that_does_not_fit_is_seen() -> None:
    """Squeeze and excite holds a whole map: in a smaller buffer the bound must be above the compulsory traffic."""
    graph = squeeze_and_excite()
    whole = Oracle(graph, Accelerator(buffer_bytes=10**9)).requirement_bytes((1 << len(graph)) - 1)
    problem = FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=whole - 1)))
    bound = LowerBound(problem)
    while bound.improve():
        pass
    assert problem.oracle.compulsory_dram_bytes < bound.bytes == optimum(problem)


def test_proves_the_optimum_where_the_ideals_are_too_many() -> None:
    graph = parallel_chains(6, 6)
    oracle = Oracle(graph, Accelerator(buffer_bytes=2000))
    plan = search(graph, oracle, "best", budget_plans=200)
    bound = LowerBound(FusionProblem(graph, oracle), groups=oracle.valid_groups)
    while bound.improve() and bound.sweeps < 20:
        pass
    assert bound.bytes == plan.network_dram_bytes, "proven optimal"


@pytest.mark.slow
def test_close_to_the_optimum_of_efficientnet_b3() -> None:
    graph = efficientnet_b3()
    oracle = Oracle(graph, Accelerator())
    best = search(graph, oracle, "exact")
    bound = LowerBound(FusionProblem(graph, oracle), groups=oracle.valid_groups)
    while bound.improve() and bound.sweeps < 10:
        pass
    assert bound.bytes <= best.network_dram_bytes <= 1.01 * bound.bytes


def test_ends_in_time_and_at_its_goal() -> None:
    graph = parallel_chains(6, 6)
    problem = FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=2000)))
    bound = LowerBound(problem)
    start = bound.bytes
    bound.run(0.0)
    assert (bound.sweeps, bound.bytes) == (0, start)
    bound.run(60.0, goal_bytes=start)
    assert bound.sweeps == 0
    bound.run(60.0, goal_bytes=start + 1)
    assert bound.bytes > start
    assert not bound.finished


def test_only_bytes_are_bounded() -> None:
    graph = chain(3)
    with pytest.raises(SearchError, match=r"of DRAM bytes, not of objective 'energy'"):
        LowerBound(FusionProblem(graph, Oracle(graph, Accelerator(), objective="energy")))


def test_schemes_without_a_requirement_keep_what_is_certain() -> None:
    graph = parallel_chains(2, 2)
    problem = FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=1000)))
    problem.oracle.schemes["unknown"] = problem.oracle.line_buffers
    bound = LowerBound(problem)
    assert not bound.improve()
    assert bound.finished
    assert bound.bytes == problem.oracle.compulsory_dram_bytes < optimum(problem)
