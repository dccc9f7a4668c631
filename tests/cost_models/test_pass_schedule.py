"""pass_schedule: each pass is a legal execution whose rings hold, and it loads what the cost model counts."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tests.cost_models.test_multi_pass import two_blocks
from tests.cost_models.test_multi_pass_agreement import FEW, MANY, draw_parameters
from tests.cost_models.test_row_program import assert_legal, assert_rings_hold, replayed_lines
from tests.graphs import Builder, everything
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.cost_models.pass_group import PassGroup
from tvm_fusion.cost_models.pass_schedule import THROUGHOUT, PassSteps, pass_schedule
from tvm_fusion.cost_models.schemes.multi_pass import MultiPass
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import mask_of

ACCELERATOR = Accelerator()


def loaded_bytes(group: PassGroup, steps: list[PassSteps]) -> int:
    """Weights that all images load, one after another."""
    weights = group.model.sizes.weight_bytes
    start = {i for p in steps for i, by in p.weights.items() if by == THROUGHOUT or i in p.first_weights}
    found = sum(weights[i] for i in start)
    here = {i: THROUGHOUT if any(p.weights.get(i) == THROUGHOUT for p in steps) else len(steps) for i in start}
    for _ in range(group.batch):
        for number, p in enumerate(steps):
            for i, by in p.weights.items():
                if by == number:
                    found += weights[i]
                    here[i] = number
                assert by in (THROUGHOUT, here[i]) or i in p.first_weights
    return found


def assert_schedule(group: PassGroup, kept: int) -> None:
    graph, steps = group.model.graph, pass_schedule(group, kept)
    at_hand: set[int] = set()
    made: set[int] = set()
    for p in steps:
        mask = mask_of(p.executed)
        assert_legal(graph, mask, p.events, p.results)
        assert {i: max(1, count) for i, count in p.lines.items()} == replayed_lines(graph, mask, p.events)
        assert_rings_hold(graph, mask, p.events, p.lines)
        assert p.at_hand <= made
        assert not at_hand & set(p.executed), "a scale is never made again"
        made |= set(p.executed)
        at_hand |= p.at_hand
    assert {i for p in steps for i in p.executed} == {i for i in range(len(graph)) if group.mask >> i & 1}
    assert loaded_bytes(group, steps) == group.moved_weight_bytes(kept)


def check(data: st.DataObject, graph: OperatorGraph) -> None:
    scheme = MultiPass(graph, data.draw(accelerators()))
    mask = data.draw(st.one_of(st.just(everything(graph)), group_masks(graph)))
    assume(scheme.model.chains.units(mask))
    chosen = draw_parameters(data, scheme, mask)
    group = scheme.model.group(mask, mask_of(chosen["split"]), chosen["weights"] == "shared")  # type: ignore[arg-type]
    assert_schedule(group, mask_of(chosen["kept"]))  # type: ignore[arg-type]


@given(data=st.data(), graph=operator_graphs(chains=True))
@FEW
def test_random_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    check(data, graph)


@pytest.mark.slow
@given(data=st.data(), graph=operator_graphs(max_operators=20, chains=True))
@MANY
def test_many_random_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    check(data, graph)


def test_two_blocks() -> None:
    """Weights of the second convolution come with the second pass; scales are at hand in the passes after theirs."""
    graph = two_blocks()
    steps = pass_schedule(MultiPassModel(graph, ACCELERATOR).group(everything(graph), 0b10010), 0)
    assert [p.executed for p in steps] == [(0, 1), (0, 2, 3, 4), (0, 2, 3, 5)]
    assert [set(p.at_hand) for p in steps] == [set(), {1}, {1, 4}]
    assert [set(p.results) for p in steps] == [set(), set(), {5}]
    assert [p.weights[0] for p in steps] == [0, 0, 0]
    assert [p.weights[3] for p in steps[1:]] == [1, 1]
    assert [i for i, _ in steps[2].events].count(1) == 1


@pytest.mark.parametrize(("batch", "loaded"), [(1, [0, 2]), (3, [2, 2])])
def test_weights_that_stay_from_image_to_image(batch: int, loaded: list[int]) -> None:
    """0 and 2 are convolutions, of which the first is in the first and the last pass."""
    b = Builder(batch=batch)
    left = b.conv(-1, kernel=1)
    right = b.pointwise(b.conv(-1, kernel=1), b.pool(left), type_="multiply")
    b.pointwise(left, b.pool(right), type_="multiply")
    graph = b.graph()
    model = MultiPassModel(graph, ACCELERATOR)
    group = model.group(everything(graph), model.chains.heads)
    steps = pass_schedule(group, 0)
    assert [p.weights[0] for p in steps if 0 in p.executed] == loaded
    assert [set(p.first_weights) for p in steps] == [{0} if batch > 1 else set(), set(), set()]
    assert loaded_bytes(group, steps) == group.moved_weight_bytes(0)
