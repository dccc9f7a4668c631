"""Cuts: how a group falls into two parts when an edge goes, with the fewest other edges or the least bytes."""

from __future__ import annotations

from collections.abc import Mapping

from tvm_fusion.graph.flow import INFINITE, Flow
from tvm_fusion.graph.graph import OperatorGraph, members

Edge = tuple[int, int]


def fewest_edges(graph: OperatorGraph, mask: int, edge: Edge) -> list[int]:
    """Heads of the cuts through ``edge`` of the connected, convex group ``mask`` that remove the fewest edges.

    A head and the rest (the tail) are both connected, and nothing in the head needs the tail, so the graph of
    groups stays acyclic. Where the edge alone holds the parts together there is one cut. Where other paths
    run beside it (a skip, squeeze-and-excite), the candidates are the cuts at each place of the topological
    numbering, and the least and the largest head of a minimum cut, so that none with fewer edges is missed.
    """
    before, after = _sides(graph, mask, edge)
    sizes = _cuts_by_number(graph, mask, before, after)
    if min(sizes.values()) > 1:
        for head in _fewest_edges(graph, mask, before, after):
            sizes[head] = cut_size(graph, mask, head)
    fewest = min(sizes.values())
    # Both sides of such a cut are connected: to move a stray part over would save its edges.
    return [head for head, size in sizes.items() if size == fewest]


def least_bytes(graph: OperatorGraph, mask: int, edge: Edge, tensor_bytes: Mapping[int, int]) -> list[int]:
    """Heads of the cuts through ``edge`` as in :func:`fewest_edges`, but those by which the least bytes cross.

    ``tensor_bytes`` is by operand id. Of all such cuts the largest head, and the least if its sides are connected.
    """
    before, after = _sides(graph, mask, edge)
    least, largest = _least_bytes(graph, mask, before, after, tensor_bytes)
    # What reads a tensor that crosses anyway, and nothing else, may lie on either side: with the head in the largest.
    both = least != largest and graph.is_connected(least) and graph.is_connected(mask & ~least)
    return [least, largest] if both else [largest]


def _sides(graph: OperatorGraph, mask: int, edge: Edge) -> tuple[int, int]:
    """What must be in the head and what in the tail if ``edge`` is cut."""
    producer, consumer = edge
    before = mask & graph.ancestor_masks[producer] | 1 << producer
    return before, mask & graph.descendant_masks[consumer] | 1 << consumer


def cut_size(graph: OperatorGraph, mask: int, head: int) -> int:
    """Edges from ``head`` to the rest of ``mask``."""
    tail = mask & ~head
    successors = graph.successor_masks
    return sum([(successors[i] & tail).bit_count() for i in members(head)])


def _bytes_across(graph: OperatorGraph, mask: int, i: int, tensor_bytes: Mapping[int, int]) -> int:
    """DRAM bytes of a tensor that goes from a head to a tail: it is written, unless it is anyway, and read."""
    written_anyway = graph.successor_masks[i] & ~mask or graph.output_mask >> i & 1
    return tensor_bytes[i] * (1 if written_anyway else 2)


def _cuts_by_number(graph: OperatorGraph, mask: int, before: int, after: int) -> dict[int, int]:
    """Edges that each cut removes, by head: ``before`` and the first few operators that are not in ``after``."""
    predecessors, successors = graph.predecessor_masks, graph.successor_masks
    head, size = before, cut_size(graph, mask, before)
    found = {head: size}
    for i in members(mask & ~before & ~after):
        head |= 1 << i
        size += (successors[i] & mask).bit_count() - (predecessors[i] & mask).bit_count()
        found[head] = size
    return found


def _fewest_edges(graph: OperatorGraph, mask: int, before: int, after: int) -> tuple[int, int]:
    """The least and the largest head that holds ``before``, not ``after``, among those with the fewest cut edges.

    Every edge carries one unit forward and any number backward, as the head must not need the rest.
    """
    beside = [*members(mask & ~before & ~after)]
    node = {i: k for k, i in enumerate(beside, 2)}
    flow = Flow(2 + len(beside))
    for i in beside:
        if edges := graph.predecessor_masks[i] & before:
            flow.add(Flow.SOURCE, node[i], edges.bit_count())
        if edges := graph.successor_masks[i] & after:
            flow.add(node[i], Flow.SINK, edges.bit_count())
        for j in members(graph.successor_masks[i] & mask & ~after):
            flow.add(node[i], node[j], 1, INFINITE)
    return _heads(flow, beside, before, mask & ~after)


def _least_bytes(
    graph: OperatorGraph, mask: int, before: int, after: int, tensor_bytes: Mapping[int, int]
) -> tuple[int, int]:
    """The least and the largest head that holds ``before``, not ``after``, from which the least bytes cross.

    Every tensor is a node of its own, so that it counts once however many operators of the tail read it.
    """
    beside = [*members(mask & ~before & ~after)]
    node = {i: k for k, i in enumerate(beside, 2)}
    makers = [i for i in members(mask & ~after) if graph.successor_masks[i] & mask & ~before]
    flow = Flow(2 + len(beside) + len(makers))
    for tensor, i in enumerate(makers, 2 + len(beside)):
        readers = graph.successor_masks[i] & mask
        maker = node.get(i, Flow.SOURCE)
        if maker == Flow.SOURCE and readers & after:
            continue  # crosses in any case
        flow.add(maker, tensor, _bytes_across(graph, mask, i, tensor_bytes))
        if readers & after:
            flow.add(tensor, Flow.SINK, INFINITE)
        for j in members(readers & ~before & ~after):
            flow.add(tensor, node[j], INFINITE)
            if maker != Flow.SOURCE:
                flow.add(node[j], maker, INFINITE)
    return _heads(flow, beside, before, mask & ~after)


def _heads(flow: Flow, beside: list[int], least: int, largest: int) -> tuple[int, int]:
    """``least`` and what of ``beside`` must be with it, ``largest`` without what of ``beside`` must not be in it."""
    flow.push()
    reached, reaching = flow.reached(), flow.reaching()
    for k, i in enumerate(beside, 2):
        least |= (reached >> k & 1) << i
        largest &= ~((reaching >> k & 1) << i)
    return least, largest
