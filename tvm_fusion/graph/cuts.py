"""Cuts: how a group falls into two parts when an edge goes, with the fewest other edges."""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph, members, reachable

Edge = tuple[int, int]


def cuts_of_edge(graph: OperatorGraph, mask: int, edge: Edge) -> list[int]:
    """Heads of the cuts through ``edge`` of the connected group ``mask`` that remove the fewest edges.

    A head and the rest (the tail) are both connected, and nothing in the head needs the tail, so the graph of
    groups stays acyclic. Where the edge alone holds the parts together there is one cut. Where other paths
    run beside it (a skip, squeeze-and-excite), each place of the topological numbering between producer and
    consumer gives one, and so do the least and the largest possible head.
    """
    producer, consumer = edge
    first = mask & ((2 << producer) - 1)
    if cut_size(graph, mask, first) == 1:
        return [first]
    between = mask & ((1 << consumer) - 1) & ~first
    heads = [first, *(first | between & ((2 << i) - 1) for i in members(between))]
    heads.append(reachable(graph.predecessor_masks, mask, 1 << producer))
    heads.append(mask & ~reachable(graph.successor_masks, mask, 1 << consumer))
    found = dict.fromkeys(_both_connected(graph, mask, head, edge) for head in dict.fromkeys(heads))
    sizes = {head: cut_size(graph, mask, head) for head in found}
    fewest = min(sizes.values())
    return [head for head, size in sizes.items() if size == fewest]


def cut_size(graph: OperatorGraph, mask: int, head: int) -> int:
    """Edges from ``head`` to the rest of ``mask``."""
    tail = mask & ~head
    successors = graph.successor_masks
    size = 0
    for i in members(head):
        if crossing := successors[i] & tail:
            size += crossing.bit_count()
    return size


def _both_connected(graph: OperatorGraph, mask: int, head: int, edge: Edge) -> int:
    """The head with stray parts moved to the other side: whatever hangs on the tail alone, and the reverse."""
    producer, consumer = edge
    tail = graph.component(mask & ~head, 1 << consumer)
    return graph.component(mask & ~tail, 1 << producer)
