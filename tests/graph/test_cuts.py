"""Cuts through an edge: two connected parts, no cycle, the fewest edges or the least bytes."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, chain, everything, residual_block, squeeze_and_excite
from tests.strategies import group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import load_accelerator
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.explainers.base import inner_edges
from tvm_fusion.graph.cuts import cut_size, fewest_edges, least_bytes
from tvm_fusion.graph.graph import OperatorGraph, members


def by_brute_force(graph: OperatorGraph, mask: int) -> list[int]:
    """Every head of a cut of a small group into two connected parts, the head needing nothing of the tail."""
    found = []
    head = mask
    while head := (head - 1) & mask:
        closed = not any(graph.predecessor_masks[i] & mask & ~head for i in members(head))
        if closed and graph.is_connected(head) and graph.is_connected(mask & ~head):
            found.append(head)
    return found


def crossing_bytes(graph: OperatorGraph, mask: int, head: int, sizes: dict[int, int]) -> int:
    """DRAM bytes of the tensors from ``head`` to the rest of ``mask``: each written, unless it is anyway, and read."""
    across = {i for i, c in inner_edges(graph, mask) if crosses(head, (i, c))}
    outside = {i for i in across if graph.successor_masks[i] & ~mask or i in graph.outputs}
    return sum(sizes[i] for i in across) + sum(sizes[i] for i in across - outside)


def crosses(head: int, edge: tuple[int, int]) -> bool:
    return bool(head >> edge[0] & 1 and not head >> edge[1] & 1)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cuts_are_those_with_the_fewest_edges(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=10))
    mask = data.draw(group_masks(graph))
    every = by_brute_force(graph, mask)
    for edge in inner_edges(graph, mask):
        heads = fewest_edges(graph, mask, edge)
        assert heads
        assert len(set(heads)) == len(heads)
        through = [head for head in every if crosses(head, edge)]
        assert set(heads) <= set(through)
        fewest = min(cut_size(graph, mask, head) for head in through)
        assert {cut_size(graph, mask, head) for head in heads} == {fewest}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_cuts_are_those_by_which_the_least_bytes_cross(data: st.DataObject) -> None:
    graph = data.draw(operator_graphs(max_operators=10))
    mask = data.draw(group_masks(graph))
    every = by_brute_force(graph, mask)
    sizes = Sizes(graph, load_accelerator("edge")).tensor_bytes
    for edge in inner_edges(graph, mask):
        heads = least_bytes(graph, mask, edge, sizes)
        through = [head for head in every if crosses(head, edge)]
        assert heads
        assert set(heads) <= set(through)
        least = min(crossing_bytes(graph, mask, head, sizes) for head in through)
        assert {crossing_bytes(graph, mask, head, sizes) for head in heads} == {least}


def test_crossing_bytes_are_what_a_cut_adds_to_the_bytes_of_a_chain() -> None:
    graph = chain(5)
    sizes = Sizes(graph, load_accelerator("edge"))
    for edge in inner_edges(graph, everything(graph)):
        (head,) = least_bytes(graph, everything(graph), edge, sizes.tensor_bytes)
        apart = sum(map(sum, map(sizes.boundary_bytes, (head, everything(graph) ^ head))))
        added = apart - sum(sizes.boundary_bytes(everything(graph)))
        assert crossing_bytes(graph, everything(graph), head, sizes.tensor_bytes) == added


def test_in_a_chain_every_edge_is_one_cut() -> None:
    graph = chain(4)
    assert [fewest_edges(graph, 0b1111, (k, k + 1)) for k in range(3)] == [[0b1], [0b11], [0b111]]


def test_the_edge_of_a_skip_takes_along_one_of_the_chain_beside_it() -> None:
    b = Builder()
    start = b.conv(-1)
    end = b.conv(b.conv(start))
    graph = b.graph(b.pointwise(start, end, type_="add"))
    heads = fewest_edges(graph, 0b1111, (0, 3))
    assert sorted(heads) == [0b1, 0b11, 0b111]
    assert all(cut_size(graph, 0b1111, head) == 2 for head in heads)


def test_squeeze_and_excite_and_residual_blocks() -> None:
    for graph in (squeeze_and_excite(), residual_block(3)):
        mask = everything(graph)
        for edge in inner_edges(graph, mask):
            assert all(crosses(head, edge) for head in fewest_edges(graph, mask, edge))


def test_the_narrow_middle_of_a_branch_is_found_wherever_it_is_numbered() -> None:
    """start -> 3 wide -> narrow -> narrow -> 3 wide -> end, beside start -> producer -> consumer -> end."""
    b = Builder()
    start = b.conv(-1)
    narrow = b.pointwise(*(b.conv(start) for _ in range(3)), type_="add")
    second = b.conv(narrow)
    first_wide = b.conv(second)
    producer = b.conv(start)
    consumer = b.conv(producer)
    wide = [first_wide, b.conv(second), b.conv(second)]
    graph = b.graph(b.pointwise(*wide, consumer, type_="add"))
    heads = fewest_edges(graph, everything(graph), (producer, consumer))
    assert {cut_size(graph, everything(graph), head) for head in heads} == {2}
