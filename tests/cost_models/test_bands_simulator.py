"""BRR's simulator, and its equality with the fast form to the byte."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import chain, everything
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.bands_simulator import simulate_bands
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))


def assert_equal_to_fast_form(
    graph: OperatorGraph, mask: int, accelerator: Accelerator, bands: int, kept: tuple[int, ...]
) -> None:
    fast = BandModel(graph, accelerator).cost(mask, bands, kept)
    slow = simulate_bands(graph, mask, accelerator, bands, kept)
    assert slow.buffers == fast.buffers
    assert slow.buffer_bytes == slow.peak_occupancy_bytes == fast.buffer_bytes
    assert (slow.input_bytes, slow.output_bytes) == (fast.input_bytes, fast.output_bytes)
    assert slow.weight_bytes == fast.weight_bytes
    assert slow.dram_bytes == fast.dram_bytes


def assert_drawn_are_equal(data: st.DataObject, graph: OperatorGraph, mask: int) -> None:
    height = max(graph.tensor(i).height for i in members(mask))
    bands = data.draw(st.one_of(st.integers(1, 5), st.integers(1, height + 2)))
    kept = data.draw(st.sets(st.sampled_from(list(members(mask)))))
    assert_equal_to_fast_form(graph, mask, data.draw(accelerators()), bands, tuple(sorted(kept)))


@given(data=st.data(), regular=st.booleans())
@FEW
def test_fast_form_equals_simulator_on_groups(data: st.DataObject, regular: bool) -> None:
    graph = data.draw(operator_graphs(regular=regular))
    assert_drawn_are_equal(data, graph, data.draw(group_masks(graph)))


@given(data=st.data(), graph=operator_graphs())
@FEW
def test_fast_form_equals_simulator_on_any_set_of_operators(data: st.DataObject, graph: OperatorGraph) -> None:
    """Not even connected: both only follow the schedule."""
    assert_drawn_are_equal(data, graph, data.draw(st.integers(1, everything(graph))))


@pytest.mark.slow
@pytest.mark.parametrize("regular", [False, True])
@given(data=st.data())
@MANY
def test_fast_form_equals_simulator_on_many_groups(regular: bool, data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=20, regular=regular))
    assert_drawn_are_equal(data, graph, data.draw(group_masks(graph)))
    assert_drawn_are_equal(data, graph, everything(graph))


@given(data=st.data())
@FEW
def test_what_is_chosen_executes_as_it_says(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs())
    mask, accelerator = data.draw(group_masks(graph)), data.draw(accelerators())
    model = BandModel(graph, accelerator)
    choice = model.choose(mask)
    shown = choice or model.least_requirement(mask)
    slow = simulate_bands(graph, mask, accelerator, shown.bands, shown.kept)
    assert (slow.buffer_bytes, slow.dram_bytes) == (shown.buffer_bytes, shown.dram_bytes)
    assert (slow.buffer_bytes <= accelerator.buffer_bytes) == (choice is not None)


def test_timeline() -> None:
    """Two convolutions of 16 rows in two bands: it ends at what moved, and kept weights alone stay on chip."""
    graph = chain(2)
    slow = simulate_bands(graph, 0b11, Accelerator(), 2, (0,), keep_timeline=True)
    numbers, occupancy, moved = zip(*slow.timeline, strict=True)
    assert numbers == tuple(range(len(numbers)))
    assert list(moved) == sorted(moved)
    assert max(occupancy) == slow.peak_occupancy_bytes
    assert occupancy[0] == occupancy[-1] == moved[0] == graph.operators[0].weight_elements
    assert moved[-1] == slow.dram_bytes
    assert simulate_bands(graph, 0b11, Accelerator(), 2, (0,)).timeline == ()


@pytest.mark.parametrize(
    ("mask", "bands", "kept"), [(0, 1, ()), (0b100, 1, ()), (1, 0, ()), (1, 1, (1,)), (1, 1, (-1,))]
)
def test_what_is_no_group_or_no_choice_is_refused(mask: int, bands: int, kept: tuple[int, ...]) -> None:
    with pytest.raises(CostModelError, match="at least"):
        simulate_bands(chain(2), mask, Accelerator(), bands, kept)
