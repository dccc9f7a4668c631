"""The interface: order, memory and time of explanations."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from tests.graphs import Builder, everything, squeeze_and_excite
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.explainers.base import Explainer, inner_edges


class Counting(Explainer):
    """Scores the edges 0, 1, 0, 1, ... and remembers what it was asked."""

    def __init__(self, oracle: Oracle, seed: int = 0) -> None:
        super().__init__(oracle, seed)
        self.asked: list[list[int]] = []

    def scores(self, masks: Sequence[int]) -> list[Sequence[float]]:
        self.asked.append(list(masks))
        return [[k % 2 for k in range(len(inner_edges(self.graph, mask)))] for mask in masks]


@pytest.fixture
def explainer() -> Counting:
    return Counting(Oracle(squeeze_and_excite(), Accelerator()))


def test_inner_edges_ascend_by_consumer_and_count_a_pair_once() -> None:
    b = Builder()
    first = b.conv(-1)
    second = b.conv(first)
    graph = b.graph(b.pointwise(second, first, type_="add"))
    assert inner_edges(graph, everything(graph)) == ((0, 1), (0, 2), (1, 2))
    assert inner_edges(graph, 0b101) == ((0, 2),)
    assert inner_edges(graph, 0b1) == ()


def test_the_most_important_edge_comes_first_and_equals_by_producer(explainer: Counting) -> None:
    mask = everything(explainer.graph)
    (found,) = explainer.explain([mask])
    edges = inner_edges(explainer.graph, mask)
    assert found.mask == mask
    assert found.edges == tuple(sorted(edges[1::2]) + sorted(edges[0::2]))
    assert list(found.scores) == sorted(found.scores, reverse=True)


def test_a_group_is_explained_once_however_often_it_is_asked(explainer: Counting) -> None:
    first = explainer.explain([0b11, 0b111, 0b11])
    again = explainer.explain([0b111, 0b1111, 0b11])
    assert explainer.asked == [[0b11, 0b111], [0b1111]]
    assert [e.mask for e in again] == [0b111, 0b1111, 0b11]
    assert first[0] is first[2] is again[2]
    assert explainer.explained == 3
    assert explainer.seconds > 0
    assert explainer.classifier_seconds == 0


def test_scores_of_the_wrong_number_of_groups_are_an_error(explainer: Counting) -> None:
    explainer.scores = lambda masks: []  # type: ignore[method-assign]
    with pytest.raises(ValueError, match="shorter"):
        explainer.explain([0b11])
