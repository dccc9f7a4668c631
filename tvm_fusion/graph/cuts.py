"""Cuts: how a group falls into two parts when an edge goes, with the fewest other edges."""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph, members

Edge = tuple[int, int]


def cuts_of_edge(graph: OperatorGraph, mask: int, edge: Edge) -> list[int]:
    """Heads of the cuts through ``edge`` of the connected, convex group ``mask`` that remove the fewest edges.

    A head and the rest (the tail) are both connected, and nothing in the head needs the tail, so the graph of
    groups stays acyclic. Where the edge alone holds the parts together there is one cut. Where other paths
    run beside it (a skip, squeeze-and-excite), the candidates are the cuts at each place of the topological
    numbering, and the least and the largest head of a minimum cut, so that none with fewer edges is missed.
    """
    producer, consumer = edge
    before = mask & graph.ancestor_masks[producer] | 1 << producer
    after = mask & graph.descendant_masks[consumer] | 1 << consumer
    sizes = _cuts_by_number(graph, mask, before, after)
    fewest = min(sizes.values())
    if fewest > 1:
        sizes |= {head: cut_size(graph, mask, head) for head in _minimum_cuts(graph, mask, before, after)}
        fewest = min(sizes.values())
    # Both sides of a cut with the fewest edges are connected: to move a stray part over would save its edges.
    return [head for head, size in sizes.items() if size == fewest]


def cut_size(graph: OperatorGraph, mask: int, head: int) -> int:
    """Edges from ``head`` to the rest of ``mask``."""
    tail = mask & ~head
    successors = graph.successor_masks
    return sum([(successors[i] & tail).bit_count() for i in members(head)])


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


def _minimum_cuts(graph: OperatorGraph, mask: int, before: int, after: int) -> tuple[int, int]:
    """The least and the largest head that holds ``before``, not ``after``, among those with the fewest cut edges.

    A largest flow between the two through the operators beside them: every edge carries one unit forward and any
    number backward, as the head must not need the rest.
    """
    predecessors, successors = graph.predecessor_masks, graph.successor_masks
    beside = mask & ~before & ~after
    enter, leave, onward = {}, {}, {}
    for i in members(beside):
        if edges := predecessors[i] & before:
            enter[i] = edges.bit_count()
        if edges := successors[i] & after:
            leave[i] = edges.bit_count()
        onward[i] = (predecessors[i] | successors[i]) & beside
    start, goal = (sum([1 << i for i in ends]) for ends in (enter, leave))
    flow: dict[Edge, int] = {}
    while True:
        layers = _layers(onward, beside, start, goal)
        reached = layers[-1] & goal
        if not reached:
            break
        at = reached.bit_length() - 1
        goal ^= _use(leave, at) << at
        for layer in reversed(layers[:-1]):
            origin = next(i for i in members(layer & graph.neighbour_masks[at]) if onward[i] >> at & 1)
            forward = bool(successors[origin] >> at & 1)
            pair = (origin, at) if forward else (at, origin)
            flow[pair] = flow.get(pair, 0) + (1 if forward else -1)
            onward[pair[0]] = onward[pair[0]] & ~(1 << pair[1]) | int(flow[pair] < 1) << pair[1]
            at = origin
        start ^= _use(enter, at) << at
    backward = dict.fromkeys(onward, 0)
    for i, others in onward.items():
        for j in members(others):
            backward[j] |= 1 << i
    return before | sum(layers), mask & ~after & ~sum(_layers(backward, beside, goal, 0))


def _layers(onward: dict[int, int], within: int, start: int, goal: int) -> list[int]:
    """Masks of the operators by their distance from ``start``, until one of ``goal`` is met or no more are found."""
    layers, left = [start], within & ~start
    while (layer := layers[-1]) and not layer & goal:
        found = 0
        while layer:
            low = layer & -layer
            found |= onward[low.bit_length() - 1]
            layer ^= low
        found &= left
        left ^= found
        layers.append(found)
    return layers


def _use(capacity: dict[int, int], i: int) -> bool:
    """Take one unit away from ``i``; whether it was the last."""
    capacity[i] -= 1
    return not capacity[i]
