"""The comparison of fast form and simulator: it compares every group, and it notices a difference."""

from __future__ import annotations

import pytest

from benchmarks.simulator_agreement import difference, groups_of_random_plans
from tests.graphs import everything, residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.errors import NoAnswerError


def test_groups_of_random_plans() -> None:
    graph = residual_block(3)
    groups, distinct = groups_of_random_plans(graph, Accelerator(), 10, seed=0)
    assert 1 <= distinct <= groups <= 10 * len(graph)
    assert (groups, distinct) == groups_of_random_plans(graph, Accelerator(), 10, seed=0)


def test_a_difference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = residual_block()
    model = LineBufferModel(graph, Accelerator())
    assert difference(model, everything(graph)) == ""
    right = LineBufferModel.lines
    monkeypatch.setattr(LineBufferModel, "lines", lambda self, mask: {**right(self, mask), 0: 7})
    assert difference(model, everything(graph)).startswith("buffers")
    with pytest.raises(NoAnswerError, match=r"by_hand, operators \[.*0.*\]: buffers"):
        groups_of_random_plans(graph, Accelerator(), 3, seed=0)
