"""The comparison of fast form and simulator: it compares every group, and it notices a difference."""

from __future__ import annotations

import pytest

from benchmarks.simulator_agreement import difference, groups_of_random_plans
from tests.graphs import everything, residual_block, squeeze_and_excite
from tvm_fusion.cli.session import load_graph
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.schemes.line_buffer import LineBuffers
from tvm_fusion.errors import NoAnswerError


def test_groups_of_random_plans() -> None:
    graph = residual_block(3)
    groups, distinct = groups_of_random_plans(graph, Accelerator(), 10, seed=0)
    assert 1 <= distinct <= groups <= 10 * len(graph)
    assert (groups, distinct) == groups_of_random_plans(graph, Accelerator(), 10, seed=0)


def test_groups_that_a_scheme_cannot_execute_are_not_counted() -> None:
    graph = squeeze_and_excite()
    groups, distinct = groups_of_random_plans(graph, Accelerator(), 40, seed=0, scheme="two-pass")
    assert 1 <= distinct < groups
    assert groups_of_random_plans(graph, Accelerator(), 40, seed=0, scheme="two-pass", largest=1) == (groups, 0)


def test_a_difference_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = residual_block()
    scheme = LineBuffers(graph, Accelerator())
    assert difference(scheme, everything(graph)) == ""
    right = LineBufferModel.lines
    monkeypatch.setattr(LineBufferModel, "lines", lambda self, mask, written=None: {**right(self, mask), 0: 7})
    assert difference(scheme, everything(graph)).startswith("buffers")
    with pytest.raises(NoAnswerError, match=r"by_hand, operators \[.*0.*\]: buffers"):
        groups_of_random_plans(graph, Accelerator(), 3, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("net", ["efficientnet_b0", "ghostnet_100", "mobileone_s4"])
def test_passes_of_real_networks(net: str) -> None:
    graph = load_graph(net, 1, verbose=False)
    _, distinct = groups_of_random_plans(graph, Accelerator(), 20, seed=0, scheme="two-pass", largest=60)
    assert distinct >= 20
