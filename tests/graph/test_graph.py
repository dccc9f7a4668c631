"""OperatorGraph: consistency, masks, JSON and the fingerprint."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.graphs import Builder, chain, residual_block, squeeze_and_excite
from tvm_fusion.errors import GraphError
from tvm_fusion.graph import OperatorGraph, RowDemand, graph_from_json, graph_to_json, mask_of, members
from tvm_fusion.graph.demand import ALL, ROW


@pytest.mark.parametrize("graph", [chain(3), residual_block(), squeeze_and_excite()])
def test_json_round_trip(graph: OperatorGraph) -> None:
    assert graph_from_json(graph_to_json(graph)) == graph


def test_fingerprint_ignores_names_and_sees_everything_else() -> None:
    graph = chain(2)
    renamed = replace(graph, operators=tuple(replace(op, name="n" + op.name) for op in graph.operators))
    assert renamed.fingerprint == graph.fingerprint
    heavier = replace(graph, operators=(graph.operators[0], replace(graph.operators[1], weight_elements=1)))
    assert heavier.fingerprint != graph.fingerprint


def test_json_with_another_content_is_refused() -> None:
    data = graph_to_json(chain(2))
    data["operators"][0]["weight_elements"] = 5
    with pytest.raises(GraphError, match="fingerprint"):
        graph_from_json(data)
    with pytest.raises(GraphError, match="lacks 'inputs'"):
        graph_from_json({"operators": []})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": 5}, "has id 5; its position is 1"),
        ({"inputs": (7,)}, "reads 7; allowed"),
        ({"inputs": (0, 0), "demands": (ROW, ROW)}, "lists an operand twice"),
        ({"demands": ()}, "1 operands and 0 row demands"),
        ({"shape": (1, 4, 0, 16)}, "every size must be at least 1"),
        ({"row_axis": 9}, "row axis 9"),
        ({"demands": (RowDemand("table", first=(0,), last=(0,)),)}, "needs a table of 16 rows"),
    ],
)
def test_contradictions_are_named(change: dict[str, object], message: str) -> None:
    graph = chain(2)
    with pytest.raises(GraphError, match=message):
        replace(graph, operators=(graph.operators[0], replace(graph.operators[1], **change)))  # type: ignore[arg-type]


def test_pointwise_heights_must_match() -> None:
    b = Builder()
    small = b.conv(-1, stride=2)
    b.add("add", (1, 4, 56, 56), {-1: ROW, small: ALL}, pointwise=True)
    with pytest.raises(GraphError, match="is pointwise on 56 rows but reads 0 with 28 rows"):
        b.graph()


def test_masks() -> None:
    graph = residual_block()
    assert list(members(0b10110)) == [1, 2, 4]
    assert mask_of([4, 1, 2]) == 0b10110
    assert graph.components(0b10011) == [0b00011, 0b10000]
    assert not graph.is_connected(0)
    with pytest.raises(GraphError, match="negative"):
        mask_of([-1])


@pytest.mark.parametrize(
    ("demand", "row", "expected"),
    [
        (RowDemand("window", 3, 1, 1), 0, (0, 1)),
        (RowDemand("window", 3, 2, 1), 4, (7, 9)),
        (RowDemand("window", 3, 1, 2, 2), 9, (7, 9)),
        (RowDemand("window", 2, 2, 4), 0, (0, 0)),
        (RowDemand("window", 1, 1, 0), 12, (0, 0)),
        (RowDemand("table", first=(1,), last=(0,)), 0, (1, 0)),
        (ALL, 3, (0, 9)),
    ],
)
def test_row_demand(demand: RowDemand, row: int, expected: tuple[int, int]) -> None:
    assert demand.rows(row, 10) == expected
