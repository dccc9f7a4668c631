"""The choice of chains and kept weights: no other set of chains moves less and fits."""

from __future__ import annotations

from itertools import chain as chained
from itertools import combinations

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, everything, squeeze_and_excite
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members

FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def sets(masks: list[int]) -> list[int]:
    found = chained.from_iterable(combinations(masks, count) for count in range(1, len(masks) + 1))
    return [sum(chosen) for chosen in found]


def fitting_traffic(model: MultiPassModel, mask: int) -> list[int]:
    """Of every set of chains that fits: the traffic for every set of weights to keep (of six at most)."""
    found = []
    for heads in sets(model.chains.units(mask)):
        group = model.group(mask, heads)
        again = [1 << i for i in members(group.loaded_again)][:6]
        kept = [k for k in (0, *sets(again)) if group.requirement_bytes(k) <= model.accelerator.buffer_bytes]
        found += [group.dram_bytes(k) for k in kept]
    return found


def traffic_without_keeping(model: MultiPassModel, mask: int) -> list[int]:
    groups = [model.group(mask, heads) for heads in sets(model.chains.units(mask))]
    return [group.dram_bytes(0) for group in groups if group.requirement_bytes(0) <= model.accelerator.buffer_bytes]


@given(st.data(), operator_graphs(max_operators=10, chains=True))
@FEW
def test_the_choice_is_the_best_of_all(data: st.DataObject, graph: OperatorGraph) -> None:
    """Up to five chains; with weights to choose from, what is kept is at least no worse than keeping none."""
    model = MultiPassModel(graph, data.draw(accelerators()))
    mask = everything(graph)
    assume(1 <= len(model.chains.units(mask)) <= 5)
    possible = fitting_traffic(model, mask)
    choice = model.choose(mask)
    assert (choice is None) == (not possible)
    if choice is None:
        cost = model.cost(mask)
        assert cost is not None
        assert not cost.valid
        needed = [model.group(mask, heads).requirement_bytes(0) for heads in sets(model.chains.units(mask))]
        assert cost.buffer_bytes == min(needed)
        return
    assert choice.buffer_bytes <= model.accelerator.buffer_bytes
    group = choice.group
    if group.least_dram_bytes == choice.dram_bytes:
        assert choice.dram_bytes <= min(possible)
    assert choice.dram_bytes <= min(traffic_without_keeping(model, mask))


def blocks(count: int, channels: int = 4) -> OperatorGraph:
    b = Builder(height=16, channels=channels)
    at = -1
    for _ in range(count):
        t = b.conv(at)
        at = b.pointwise(t, b.pool(t), type_="multiply")
    return b.graph()


@pytest.mark.parametrize("buffer_bytes", [2800, 3000, 3400, 4500, 5500, 6500, 8000])
def test_of_many_chains_the_fewest_are_split_off(buffer_bytes: int) -> None:
    """Seven of them, where not every set is tried: still as good as the best of all sets."""
    graph = blocks(7)
    model = MultiPassModel(graph, Accelerator(buffer_bytes=buffer_bytes))
    choice = model.choose(everything(graph))
    possible = fitting_traffic(model, everything(graph))
    assert (choice.dram_bytes if choice else None) == min(possible, default=None)


def test_what_a_chain_holds_is_worth_a_pass_only_where_it_does_not_fit() -> None:
    """Two blocks in a buffer for one map: one of them is split off, so that the input is read twice, not thrice."""
    graph = blocks(2)
    whole = MultiPassModel(graph, Accelerator(buffer_bytes=2000)).cost(everything(graph))
    assert whole is not None
    assert len(whole.parameters["split"]) == 1
    assert whole.input_bytes == 2 * 1024
    tight = MultiPassModel(graph, Accelerator(buffer_bytes=1000)).cost(everything(graph))
    assert tight is not None
    assert tight.parameters["split"] == [1, 4]
    assert (tight.valid, tight.input_bytes) == (True, 3 * 1024)


def test_where_nothing_fits_the_least_requirement_is_reported() -> None:
    graph = squeeze_and_excite()
    model = MultiPassModel(graph, Accelerator(buffer_bytes=600))
    assert model.choose(everything(graph)) is None
    found = model.cost(everything(graph))
    assert found is not None
    assert (found.valid, found.buffer_bytes) == (False, 3 * 224 + 4 + 16)
