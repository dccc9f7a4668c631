"""Flow against networkx, an implementation that is not ours."""

from __future__ import annotations

import networkx as nx
from hypothesis import given
from hypothesis import strategies as st

from tvm_fusion.graph.flow import INFINITE, Flow

NODES = 7
Arc = tuple[int, int, int, int]
ARCS = st.lists(
    st.tuples(
        st.integers(0, NODES - 1), st.integers(0, NODES - 1), st.integers(0, 9), st.sampled_from((0, 0, 3, INFINITE))
    ).filter(lambda arc: arc[0] != arc[1] and set(arc[:2]) != {Flow.SOURCE, Flow.SINK}),
    max_size=20,
)


def capacities(arcs: list[Arc]) -> dict[tuple[int, int], int]:
    found: dict[tuple[int, int], int] = {}
    for tail, head, forward, backward in arcs:
        found[tail, head] = found.get((tail, head), 0) + forward
        found[head, tail] = found.get((head, tail), 0) + backward
    return found


@given(ARCS)
def test_both_sides_are_smallest_cuts_and_no_smaller_side_is_one(arcs: list[Arc]) -> None:
    capacity = capacities(arcs)
    other = nx.DiGraph()
    other.add_nodes_from(range(NODES))
    other.add_weighted_edges_from([(*arc, size) for arc, size in capacity.items()], weight="capacity")
    value = nx.maximum_flow_value(other, Flow.SOURCE, Flow.SINK)
    if value >= INFINITE:
        return
    flow = Flow(NODES)
    for arc in arcs:
        flow.add(*arc)
    flow.push()

    def cut_bytes(side: int) -> int:
        return sum(size for (tail, head), size in capacity.items() if side >> tail & 1 and not side >> head & 1)

    everything = (1 << NODES) - 1
    sides = [side for side in range(everything + 1) if side >> Flow.SOURCE & 1 and not side >> Flow.SINK & 1]
    smallest = [side for side in sides if cut_bytes(side) == value]
    least, largest = everything, 0
    for side in smallest:
        least &= side
        largest |= side
    assert flow.reached() == least
    assert everything & ~flow.reaching() == largest
