"""place_on_chip: places are apart, aligned, and together what the cost model says."""

from __future__ import annotations

import itertools

from hypothesis import given
from hypothesis import strategies as st

from tests.strategies import operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.sizes import weight_bytes
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.passes.on_chip_places import ACCUMULATOR, BUFFER, place_on_chip

OWN_WIDTHS = Accelerator(activation_bits=None, weight_bits=None)


@given(operator_graphs(), st.sampled_from((1, 4, 64)))
def test_places_of_any_graph(graph: OperatorGraph, alignment: int) -> None:
    cost = LineBufferModel(graph, OWN_WIDTHS).cost((1 << len(graph)) - 1)
    sizes = [[size] if (size := weight_bytes(operator, OWN_WIDTHS)) else [] for operator in graph.operators]
    places = place_on_chip(graph, cost, sizes, alignment)
    spans = sorted((address, address + size) for _, address, size in places.memory_map)
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert all(address % alignment == 0 for address, _ in spans)
    assert sum(end - begin for begin, end in spans) == cost.buffer_bytes
    assert places.end == max(end for _, end in spans)
    assert places.end == cost.buffer_bytes or alignment > 1
    lines = {buffer.tensor: buffer.lines for buffer in cost.buffers}
    assert {place.operand for place in places.rows} == set(lines)
    rings = {address: size for _, address, size in places.memory_map}
    for place in places.rows:
        if place.memory == BUFFER:
            assert rings[place.address] == place.lines * place.row_bytes
        else:
            assert place.memory == ACCUMULATOR
            assert not lines[place.operand]
            assert place.address + place.row_bytes <= places.accumulator_bytes
        # What is computed in place lies where its reader will be, or in a row of its own beside the buffer.
        if not lines[place.operand] and place.memory == BUFFER:
            (reader,) = graph.consumers[place.operand]
            assert next(p for p in places.rows if p.operand == reader).at(5) == place.at(5)
    kept = [place.address for place in places.rows if place.memory == ACCUMULATOR]
    own = [place for place in places.rows if lines[place.operand]]
    assert len({place.address for place in own}) == len(own) or any(not place.row_bytes for place in own)
    assert len(kept) <= len(places.rows) - len(own)
