"""Metrics of explanations against definitions worked out by hand and by brute force."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.explainers.groups import invalid_groups, small_oracle
from tests.graph.test_cuts import by_brute_force, crosses
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.base import Edge, Explanation, inner_edges
from tvm_fusion.explainers.metrics import best_repair_bytes, fidelity, truth
from tvm_fusion.graph.cuts import cut_size


@pytest.fixture
def oracle() -> Oracle:
    return small_oracle()


@pytest.fixture
def invalid() -> list[int]:
    return invalid_groups()


def brute_force_bytes(oracle: Oracle, mask: int, edges: Sequence[Edge]) -> int | None:
    """Least bytes of two valid parts of a smallest cut through one of the edges."""
    found = []
    every = by_brute_force(oracle.graph, mask)
    for edge in edges:
        through = [head for head in every if crosses(head, edge)]
        fewest = min(cut_size(oracle.graph, mask, head) for head in through)
        for head in through:
            first, second = oracle.evaluate(head), oracle.evaluate(mask & ~head)
            if cut_size(oracle.graph, mask, head) == fewest and first[0] and second[0]:
                found.append(first[1] + second[1])
    return min(found, default=None)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_best_repair_is_among_the_smallest_cuts(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=8))
    oracle = Oracle(graph, data.draw(accelerators()))
    mask = data.draw(group_masks(graph))
    edges = inner_edges(graph, mask)
    assume(edges)
    chosen = data.draw(st.lists(st.sampled_from(edges), min_size=1, max_size=3))
    best, bound = best_repair_bytes(oracle, mask, chosen), brute_force_bytes(oracle, mask, chosen)
    if best is not None:
        assert bound is not None
        assert best >= bound
    whole = best_repair_bytes(oracle, mask, edges)
    assert best is None or (whole is not None and whole <= best)


def test_in_a_chain_the_best_repair_is_that_of_brute_force(oracle: Oracle) -> None:
    mask = 0b11111100
    for count in range(1, 6):
        edges = inner_edges(oracle.graph, mask)[:count]
        assert best_repair_bytes(oracle, mask, edges) == brute_force_bytes(oracle, mask, edges)


def explained(oracle: Oracle, mask: int, best_first: bool) -> Explanation:
    edges = inner_edges(oracle.graph, mask)
    bytes_of = {edge: best_repair_bytes(oracle, mask, [edge]) for edge in edges}
    order = sorted(edges, key=lambda edge: bytes_of[edge] or math.inf, reverse=not best_first)
    return Explanation(mask, tuple(order), tuple(map(float, range(len(order), 0, -1))))


def test_truth_of_the_best_and_of_the_worst_order(oracle: Oracle, invalid: list[int]) -> None:
    best = truth(oracle, [explained(oracle, mask, True) for mask in invalid])
    worst = truth(oracle, [explained(oracle, mask, False) for mask in invalid])
    assert best.groups == worst.groups == len(invalid)
    assert best.top1_rate == best.top3_rate == best.repairable_rate == worst.repairable_rate
    assert best.top1_dram_ratio == best.top3_dram_ratio == 1.0
    assert 0 < worst.top1_rate <= worst.top3_rate <= worst.repairable_rate <= 1
    assert worst.top1_dram_ratio >= 1.0


def test_without_any_repair_the_ratio_is_no_number(oracle: Oracle, invalid: list[int]) -> None:
    hopeless = [m for m in invalid if best_repair_bytes(oracle, m, inner_edges(oracle.graph, m)) is None]
    assert hopeless
    report = truth(oracle, [explained(oracle, mask, True) for mask in hopeless])
    assert report.repairable_rate == report.top3_rate == 0
    assert math.isnan(report.top1_dram_ratio)


def test_valid_groups_and_nothing_are_refused(oracle: Oracle) -> None:
    with pytest.raises(ExplainerError, match="0x1 is valid"):
        truth(oracle, [Explanation(0b1, (), ())])
    with pytest.raises(ExplainerError, match="at least one"):
        truth(oracle, [])
    with pytest.raises(ExplainerError, match="must be >= 1"):
        fidelity(lambda masks, edges: [], [])


CHAIN = Explanation(0b1111, ((1, 2), (0, 1), (2, 3)), (3.0, 2.0, 1.0))
SHORT = Explanation(0b111, ((0, 1), (1, 2)), (2.0, 1.0))


def at_fault(edge: Edge) -> object:
    """A classifier that calls a group invalid as long as one edge is there."""
    return lambda masks, edges: [edge in chosen for chosen in edges]


def test_fidelity_of_a_right_a_wrong_and_a_half_right_explanation() -> None:
    right = fidelity(at_fault((1, 2)), [CHAIN], top=1)  # type: ignore[arg-type]
    assert (right.plus, right.minus) == (1.0, 0.0)
    wrong = fidelity(at_fault((2, 3)), [CHAIN], top=1)  # type: ignore[arg-type]
    assert (wrong.plus, wrong.minus) == (0.0, 1.0)
    half = fidelity(at_fault((0, 1)), [CHAIN, SHORT], top=1)  # type: ignore[arg-type]
    assert (half.plus, half.minus, half.groups, half.top) == (0.5, 0.5, 2, 1)


def test_the_phenomenon_differs_from_the_model_where_the_model_is_wrong() -> None:
    said = iter([[False], [True], [False]])  # the whole group, the explained edges, the others
    report = fidelity(lambda masks, edges: next(said), [CHAIN], kind="phenomenon")
    assert (report.plus, report.minus) == (0.0, 1.0)
    said = iter([[False], [True], [False]])
    report = fidelity(lambda masks, edges: next(said), [CHAIN], kind="model")
    assert (report.plus, report.minus) == (0.0, 1.0)
