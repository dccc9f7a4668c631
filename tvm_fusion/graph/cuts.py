"""Cuts: how a group falls into two parts when an edge goes, with the fewest other edges."""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph, members, reachable

Edge = tuple[int, int]


def cuts_of_edge(graph: OperatorGraph, mask: int, edge: Edge) -> list[int]:
    """Heads of the cuts through ``edge`` of the connected group ``mask`` that remove the fewest edges.

    A head and the rest (the tail) are both connected, and nothing in the head needs the tail, so the graph of
    groups stays acyclic. Where the edge alone holds the parts together there is one cut. Where other paths
    run beside it (a skip, squeeze-and-excite), the candidates are each place of the topological numbering between
    producer and consumer, the least and the largest possible head, and the least and the largest head of a
    minimum cut, so that none with fewer edges is missed.
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
    if fewest > 1:
        sizes |= {head: cut_size(graph, mask, head) for head in _minimum_cuts(graph, mask, edge)}
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


def _minimum_cuts(graph: OperatorGraph, mask: int, edge: Edge) -> tuple[int, int]:
    """The least and the largest head among those with the fewest edges to the rest.

    A largest flow from producer to consumer: every edge carries one unit forward and any number backward, as the
    head must not need the rest. Both sides of a minimum cut are connected: to move a stray part saves its edges.
    """
    producer, consumer = edge
    predecessors, successors = graph.predecessor_masks, graph.successor_masks
    flow: dict[Edge, int] = {}
    full = dict.fromkeys(members(mask), 0)  # of each operator the consumers to which no more can flow
    while True:
        came_from = {producer: producer}
        waiting = [producer]
        for at in waiting:
            for to in members((predecessors[at] | successors[at] & ~full[at]) & mask):
                if to not in came_from:
                    came_from[to] = at
                    waiting.append(to)
        if consumer not in came_from:
            break
        to = consumer
        while to != producer:
            at = came_from[to]
            forward = bool(successors[at] >> to & 1)
            pair = (at, to) if forward else (to, at)
            flow[pair] = flow.get(pair, 0) + (1 if forward else -1)
            full[pair[0]] = full[pair[0]] & ~(1 << pair[1]) | int(flow[pair] == 1) << pair[1]
            to = at
    least = sum(1 << i for i in came_from)
    tail = frontier = 1 << consumer
    while frontier:
        reached = 0
        for i in members(frontier):
            reached |= successors[i]
            reached |= sum(1 << before for before in members(predecessors[i] & mask) if not full[before] >> i & 1)
        frontier = reached & mask & ~tail
        tail |= frontier
    return least, mask & ~tail


def _both_connected(graph: OperatorGraph, mask: int, head: int, edge: Edge) -> int:
    """The head with stray parts moved to the other side: whatever hangs on the tail alone, and the reverse."""
    producer, consumer = edge
    tail = graph.component(mask & ~head, 1 << consumer)
    return graph.component(mask & ~tail, 1 << producer)
