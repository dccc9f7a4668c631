"""The bound for groups that grow."""

from __future__ import annotations

from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, chain
from tests.strategies import accelerators, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.graph import OperatorGraph, RowDemand
from tvm_fusion.graph.graph import members


@settings(max_examples=200, deadline=None, derandomize=True)
@given(operator_graphs(max_operators=10), accelerators(), st.randoms(use_true_random=False))
def test_what_a_group_needs_every_group_that_it_grows_into_needs(
    graph: OperatorGraph, accelerator: Accelerator, random: Random
) -> None:
    """Along a random order, from a random place in it, in which any operator may come that is ready."""
    model = BandModel(graph, accelerator)
    ready = [i for i in range(len(graph)) if not graph.predecessor_masks[i]]
    before = random.randrange(len(graph))
    ideal = group = bound = extra = 0
    bands = 1
    while ready:
        i = ready.pop(random.randrange(len(ready)))
        if ideal.bit_count() >= before:
            group |= 1 << i
            found = model.growth_bound(group, bands)
            bound = max(bound, found.needed_bytes)
            assert bound <= model.least_requirement(group).buffer_bytes
            choice = model.choose(group)
            if choice is not None:
                bands, extra = max(bands, found.bands), max(extra, found.extra_bytes)
                least = sum(model.sizes.boundary_bytes(group)) + model.sizes.weights(group)
                assert choice.dram_bytes >= least + extra
                assert found == model.growth_bound(group), "what is known of a part changes nothing"
            elif not found.bands:
                assert bound > accelerator.buffer_bytes
                break
        ideal |= 1 << i
        ready += [c for c in members(graph.successor_masks[i]) if not graph.predecessor_masks[c] & ~ideal]


def test_bands_of_one_row() -> None:
    """3 rows of the first and 5 of the input while the first of two convolutions runs, and a channel of weights."""
    assert BandModel(chain(2), Accelerator()).growth_bound(0b11).needed_bytes == (5 + 3) * 64 + 36


def test_rows_that_the_network_does_not_demand_do_not_count() -> None:
    b = Builder(height=16)
    b.add("slice", (1, 4, 2, 16), {b.conv(-1): RowDemand("row")})
    model = BandModel(b.graph(), Accelerator())
    assert [list(rows) for rows in model.demanded_rows] == [[0, 1], [0, 1]]
    assert model.growth_bound(0b01).needed_bytes == (3 + 1) * 64 + 36
