"""Which schemes ``compile`` searches by itself: those whose groups it can lower."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.graphs import residual_block
from tvm_fusion.cli.building import lowered_schemes
from tvm_fusion.cost_models.schemes.registry import chosen_schemes
from tvm_fusion.graph.graph import OperatorGraph


def of_dtype(graph: OperatorGraph, dtype: str) -> OperatorGraph:
    return replace(graph, operators=tuple(replace(op, dtype=dtype) for op in graph.operators))


@pytest.mark.parametrize(
    ("dtype", "as_sources", "schemes"),
    [
        ("float32", False, ("lbdf", "channel-streaming", "brr", "two-pass", "layer")),
        ("int8", False, ("lbdf", "brr", "two-pass", "layer")),
        ("float32", True, ("lbdf", "layer")),
        ("int8", True, ("lbdf", "layer")),
    ],
)
def test_schemes_that_are_lowered(dtype: str, as_sources: bool, schemes: tuple[str, ...]) -> None:
    assert chosen_schemes(lowered_schemes(of_dtype(residual_block(), dtype), as_sources)) == schemes
