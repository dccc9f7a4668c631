"""ExplainedSplit: what every repair owes, and the three categories of the tree split."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import chain, residual_block
from tests.search.networks import efficientnet_b3
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.base import Explainer, inner_edges
from tvm_fusion.explainers.occlusion import Occlusion
from tvm_fusion.explainers.random_edges import RandomEdges
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.search import search
from tvm_fusion.search.explained_split import ExplainedSplit, split_at
from tvm_fusion.search.problem import FusionProblem


class Fixed(Explainer):
    """Scores by a table: what an explanation says can be chosen."""

    table: dict[tuple[int, int], float] = {}  # noqa: RUF012 - set by each test

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        return [[self.table.get(edge, 0.0) for edge in inner_edges(self.graph, mask)] for mask in masks]


def problem_of(graph: OperatorGraph, buffer_bytes: int) -> FusionProblem:
    return FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=buffer_bytes)))


@st.composite
def cases(draw: st.DrawFn) -> tuple[FusionProblem, int]:
    graph = draw(operator_graphs(max_operators=10))
    problem = FusionProblem(graph, Oracle(graph, draw(accelerators())))
    return problem, draw(group_masks(graph))


@settings(max_examples=200, deadline=None)
@given(cases(), st.sampled_from((RandomEdges, Occlusion)), st.integers(1, 4), st.integers(0, 3))
def test_parts_are_a_repair(case: tuple[FusionProblem, int], explainer: type[Explainer], edges: int, seed: int) -> None:
    problem, mask = case
    splitter = ExplainedSplit(explainer(problem.oracle, seed), edges)
    parts = splitter.split(problem, mask, np.random.default_rng(seed))
    assert sum(parts) == mask
    assert all(not a & b for k, a in enumerate(parts) for b in parts[:k])
    assert all(problem.graph.is_connected(part) for part in parts)
    assert all(problem.valid(part) for part in parts)
    assert problem.ordered_subset(parts) is not None
    # Execution order: nothing needs a later part.
    done = 0
    for part in parts:
        assert not problem.sources(part) & mask & ~done & ~part
        done |= part
    assert splitter.counts.rectified <= splitter.counts.invalid_groups <= 1


@settings(max_examples=100, deadline=None)
@given(cases(), st.integers(0, 3))
def test_all_edges_leave_nothing_invalid(case: tuple[FusionProblem, int], seed: int) -> None:
    problem, mask = case
    edges = inner_edges(problem.graph, mask)
    if problem.graph.is_connected(mask):
        assert all(problem.valid(part) for part in split_at(problem, mask, edges))


def test_one_edge_whose_parts_are_both_valid_is_taken_whatever_else() -> None:
    graph = chain(5)
    whole = 0b11111
    needed = Oracle(graph, Accelerator()).requirement_bytes
    problem = problem_of(graph, needed(0b111))
    assert not problem.valid(whole)
    assert split_at(problem, whole, [(0, 1), (2, 3), (1, 2)]) in ((0b111, 0b11000), (0b11, 0b11100))
    assert split_at(problem, whole, [(0, 1), (2, 3)]) == (0b111, 0b11000)


def test_of_valid_pairs_the_one_that_moves_least_is_taken() -> None:
    graph = efficientnet_b3(stages=1)
    problem = problem_of(graph, 10**9)
    whole = problem.everything
    tight = problem_of(graph, problem.oracle.requirement_bytes(whole) - 1)
    edges = inner_edges(graph, whole)
    found = split_at(tight, whole, edges)
    assert len(found) == 2
    pairs = [split_at(tight, whole, [edge]) for edge in edges]
    moved = [tight.plan_value(pair) for pair in pairs if len(pair) == 2 and all(map(tight.valid, pair))]
    assert tight.plan_value(found) == min(moved)


def test_the_larger_valid_part_is_kept_and_the_rest_split_again() -> None:
    graph = chain(6)
    needed = Oracle(graph, Accelerator()).requirement_bytes
    problem = problem_of(graph, needed(0b11))
    parts = split_at(problem, 0b111111, [(0, 1), (1, 2), (3, 4)])
    assert parts[0] == 0b11  # of the valid heads {0} and {0, 1} the larger one
    assert parts[1:] == (0b1100, 0b110000)


def test_without_a_cut_the_group_stays_whole() -> None:
    problem = problem_of(chain(4), 1)
    assert split_at(problem, 0b1111, []) == (0b1111,)


def test_explanation_that_is_not_enough_is_followed_by_others() -> None:
    graph = chain(8)
    needed = Oracle(graph, Accelerator()).requirement_bytes
    problem = problem_of(graph, needed(0b11))
    splitter = ExplainedSplit(Fixed(problem.oracle), edges=1)
    parts = splitter.split(problem, problem.everything, np.random.default_rng(0))
    assert all(map(problem.valid, parts))
    assert splitter.counts.rectified == 0
    assert splitter.counts.invalid_groups == 1
    assert splitter.counts.explained_again >= 1
    assert splitter.counts.split_at_random == 0


def test_no_edges_of_an_explanation_means_the_random_split() -> None:
    problem = problem_of(chain(4), 1)
    splitter = ExplainedSplit(Fixed(problem.oracle), edges=0)
    parts = splitter.split(problem, problem.everything, np.random.default_rng(0))
    assert sorted(parts) == [1, 2, 4, 8]
    assert splitter.counts.split_at_random == 1


def test_a_group_is_explained_once() -> None:
    asked: list[int] = []

    class Counting(Fixed):
        def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
            asked.extend(masks)
            return super().scores(masks)

    problem = problem_of(residual_block(6), 3000)
    splitter = ExplainedSplit(Counting(problem.oracle), edges=3)
    splitter.prepare(problem, [problem.everything, problem.everything])
    assert asked[0] == problem.everything
    before = list(asked)
    first = splitter.split(problem, problem.everything, np.random.default_rng(0))
    assert splitter.split(problem, problem.everything, np.random.default_rng(0)) == first
    assert asked == before
    assert len(set(asked)) == len(asked)


@pytest.mark.parametrize("name", ["random-search", "local-search", "nsga2"])
def test_searches_take_it_and_say_what_it_did(name: str, b3_start: OperatorGraph) -> None:
    results = []
    for _ in range(2):
        oracle = Oracle(b3_start, Accelerator())
        splitter = ExplainedSplit(Occlusion(oracle))
        results.append(search(b3_start, oracle, name, budget_plans=60, seed=1, splitter=splitter))
    first, second = results
    assert first.plan == second.plan
    assert first.repair == second.repair
    assert first.repair.invalid_groups > 0
    assert 0 < first.repair.rectify_rate <= 1
    assert first.oracle_seconds > 0


def test_parts_come_in_execution_order_in_a_chain() -> None:
    problem = problem_of(chain(9), 1)
    parts = split_at(problem, problem.everything, inner_edges(problem.graph, problem.everything))
    assert all(a < b for a, b in pairwise(parts))
