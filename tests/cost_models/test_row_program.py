"""row_program: a legal execution, and the rings that the fast form counts are enough for it and no larger."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.graphs import Builder, chain, everything, residual_block, squeeze_and_excite
from tests.strategies import group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.row_program import Event, row_program
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph import OperatorGraph, RowDemand
from tvm_fusion.graph.graph import members

ACCELERATOR = Accelerator()
FEW = settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))


def reads(graph: OperatorGraph, mask: int, event: Event) -> list[tuple[int, range, bool]]:
    """(operand, rows, whether they are held for it) that the making of a row of the group needs."""
    made, row = event
    if made < 0 or not mask >> made & 1:
        return []
    operator = graph.operators[made]
    found = []
    for operand, demand in zip(operator.inputs, operator.demands, strict=True):
        first, last = demand.rows(row, graph.tensor(operand).height)
        found.append((operand, range(first, last + 1), demand.kind != "accumulate"))
    return found


def assert_legal(
    graph: OperatorGraph, mask: int, events: Sequence[Event], written: Collection[int] | None = None
) -> None:
    """Rows ascend from 0 without gaps, every operand row is there in time, and what crosses is there once and whole."""
    made: dict[int, int] = defaultdict(int)
    for tensor, row in events:
        assert row == made[tensor] < graph.tensor(tensor).height
        for operand, rows, _ in reads(graph, mask, (tensor, row)):
            assert made[operand] >= rows.stop or not len(rows)
        made[tensor] += 1
    sizes = Sizes(graph, ACCELERATOR)
    inputs = sizes.outside_inputs(mask)
    assert set(made) <= {*inputs, *members(mask)}
    for tensor in (*inputs, *(sizes.outputs(mask) if written is None else written)):
        assert made[tensor] == graph.tensor(tensor).height


def replayed_lines(graph: OperatorGraph, mask: int, events: Sequence[Event]) -> dict[int, int]:
    """Most rows of each tensor at once, from the oldest that an event to come reads to the one that is made."""
    last_use: dict[Event, int] = {}
    for time, event in enumerate(events):
        for operand, rows, held in reads(graph, mask, event):
            last_use.update(dict.fromkeys(((operand, row) for row in rows if held), time))
    peaks = dict.fromkeys([*Sizes(graph, ACCELERATOR).outside_inputs(mask), *members(mask)], 1)
    oldest: dict[int, int] = defaultdict(int)
    for time, (tensor, row) in enumerate(events):
        while oldest[tensor] < row and last_use.get((tensor, oldest[tensor]), -1) < time:
            oldest[tensor] += 1
        peaks[tensor] = max(peaks[tensor], row + 1 - oldest[tensor])
    return peaks


def assert_lines(graph: OperatorGraph, mask: int) -> None:
    events = row_program(graph, mask)
    assert_legal(graph, mask, events)
    lines = LineBufferModel(graph, ACCELERATOR).lines(mask)
    replayed = replayed_lines(graph, mask, events)
    assert {i: max(1, count) for i, count in lines.items()} == replayed
    assert_rings_hold(graph, mask, events, lines)


def assert_rings_hold(graph: OperatorGraph, mask: int, events: Sequence[Event], lines: dict[int, int]) -> None:
    """Row r in place r mod lines, an in-place tensor in the ring of its consumer: nothing is overwritten too early.

    Of two tensors in place in one consumer only the first is in its ring, the other has a row of its own.
    """
    home: dict[int, int] = {}
    first: dict[int, int] = {}
    for i in sorted(lines):
        if not lines[i]:
            first.setdefault(graph.consumers[i][0], i)
    for i in sorted(lines, reverse=True):
        in_consumer = not lines[i] and first[graph.consumers[i][0]] == i
        home[i] = home[graph.consumers[i][0]] if in_consumer else i
    place: dict[tuple[int, int], Event] = {}
    for tensor, row in events:
        for operand, rows, held in reads(graph, mask, (tensor, row)):
            for needed in rows if held else ():
                ring = home[operand]
                assert place[ring, needed % max(1, lines[ring])] == (operand, needed)
        place[home[tensor], row % max(1, lines[home[tensor]])] = (tensor, row)


@given(data=st.data(), graph=operator_graphs())
@FEW
def test_random_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    assert_lines(graph, data.draw(group_masks(graph)))


@given(data=st.data(), graph=operator_graphs(regular=True))
@FEW
def test_random_tall_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    assert_lines(graph, data.draw(group_masks(graph)))


@pytest.mark.slow
@given(data=st.data(), graph=operator_graphs(max_operators=20))
@MANY
def test_many_random_groups(data: st.DataObject, graph: OperatorGraph) -> None:
    assert_lines(graph, data.draw(group_masks(graph)))


@pytest.mark.parametrize("graph", [chain(5), residual_block(2), residual_block(3), squeeze_and_excite()], ids=str)
def test_known_networks(graph: OperatorGraph) -> None:
    assert_lines(graph, everything(graph))


def test_events_of_a_small_group() -> None:
    """Two 3-row convolutions: each row as soon as it can be, and no sooner than it is demanded."""
    b = Builder(height=3)
    b.conv(b.conv(-1))
    assert row_program(b.graph(), 0b11) == [
        (-1, 0), (-1, 1), (0, 0), (-1, 2), (0, 1), (1, 0), (0, 2), (1, 1), (1, 2),
    ]  # fmt: skip


def test_rows_that_nobody_inside_demands_come_last() -> None:
    """A stride that skips the last row of a tensor that is written, and of the input."""
    b = Builder(height=4)
    b.conv(b.conv(-1, 1), 1, stride=2)
    assert row_program(b.graph(0, 1), 0b11)[-2:] == [(-1, 3), (0, 3)]
    assert row_program(b.graph(1), 0b11)[-1] == (-1, 3)


def test_only_what_is_written_is_made_whole() -> None:
    """Of the first convolution as many rows as the second one reads, and all of them where it is written."""
    b = Builder(height=4)
    b.conv(b.conv(-1, 1), 1, stride=2)
    graph = b.graph(0, 1)
    assert [event for event in row_program(graph, 0b11, [1]) if event[0] == 0] == [(0, 0), (0, 1), (0, 2)]
    assert row_program(graph, 0b11, [0, 1]) == row_program(graph, 0b11)


def test_a_deep_chain_does_not_exhaust_the_stack() -> None:
    graph = chain(2500)
    assert len(row_program(graph, everything(graph))) == 2501 * graph.operators[0].height


def test_row_that_needs_nothing_demands_nothing() -> None:
    """However a table says so: its last row before the first, wherever that is."""
    b = Builder(height=3)
    b.add("take", (1, 4, 2, 3), {-1: RowDemand("table", first=(2, 0), last=(1, 0))})
    assert row_program(b.graph(), 1) == [(0, 0), (-1, 0), (0, 1), (-1, 1), (-1, 2)]
    assert_lines(b.graph(), 1)
