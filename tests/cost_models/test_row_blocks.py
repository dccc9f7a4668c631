"""row_blocks: every worker has what it reads, no two write one place at a time, and everything crosses as counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from tests.cost_models.test_row_program import reads
from tests.graphs import Builder, chain, everything, residual_block, squeeze_and_excite
from tests.strategies import group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.row_blocks import BlockEvent, RowBlocks, row_blocks
from tvm_fusion.cost_models.row_program import Event
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.passes.lowering.row_homes import row_homes

ACCELERATOR = Accelerator(activation_bits=None, weight_bits=None)
FEW = settings(max_examples=200, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
MANY = settings(max_examples=3000, deadline=None, suppress_health_check=list(HealthCheck))


class Workers:
    """Execute the blocks of one stage after another, each on memory of its own beside what all share."""

    def __init__(self, graph: OperatorGraph, mask: int, lines: dict[int, int], blocks: RowBlocks) -> None:
        self.graph, self.mask, self.lines, self.blocks = graph, mask, lines, blocks
        self.home = {i: home.owner for i, home in row_homes(graph, lines).items()}
        self.common: dict[tuple[int, int], Event] = {}
        self.sums: dict[tuple[int, int, int], list[int]] = {}  # by block, tensor and reader the rows added
        self.crossed: Counter[tuple[str, int, int]] = Counter()

    def run(self) -> None:
        for stage in self.blocks.stages:
            before, sums = dict(self.common), {key: list(rows) for key, rows in self.sums.items()}
            written: Counter[tuple[int, int]] = Counter()
            for block, events in enumerate(stage):
                written.update(self._block(block, events, before, sums))
            assert all(times == 1 for times in written.values()), "two workers write one place"

    def _block(
        self,
        block: int,
        events: tuple[BlockEvent, ...],
        before: dict[tuple[int, int], Event],
        sums: dict[tuple[int, int, int], list[int]],
    ) -> set[tuple[int, int]]:
        own: dict[tuple[int, int], Event] = {}
        mine: set[tuple[int, int]] = set()
        totals: dict[tuple[int, int], list[int]] = {}

        def there(tensor: int, row: int) -> bool:
            ring = self.home[tensor]
            place = ring, row % max(1, self.lines[ring])
            if ring not in self.blocks.shared:
                return own.get(place) == (tensor, row)
            return (self.common if place in mine else before).get(place) == (tensor, row)

        for kind, tensor, row, reader in events:
            if kind == "start":
                assert (block, tensor, reader) not in self.sums
                self.sums[block, tensor, reader] = []
            elif kind == "combine":
                assert row or (tensor, reader) not in totals
                totals[tensor, reader] = totals.get((tensor, reader), []) + sums[row, tensor, reader]
            elif kind == "make":
                self._check_operands(tensor, row, there, totals)
                ring = self.home[tensor]
                place = ring, row % max(1, self.lines[ring])
                (self.common if ring in self.blocks.shared else own)[place] = (tensor, row)
                mine |= {place} if ring in self.blocks.shared else set()
                self.crossed["make", tensor, row] += 1
                self.crossed["store", tensor, row] += tensor not in self.blocks.stored_apart
            else:
                assert there(tensor, row)
                if kind == "add":
                    self.sums[block, tensor, reader].append(row)
                else:
                    self.crossed["store", tensor, row] += 1
        return mine

    def _check_operands(
        self, tensor: int, row: int, there: Callable[[int, int], bool], totals: dict[tuple[int, int], list[int]]
    ) -> None:
        for operand, rows, held in reads(self.graph, self.mask, (tensor, row)):
            if held:
                assert all(there(operand, needed) for needed in rows), (tensor, row, operand)
            else:
                assert sorted(totals[operand, tensor]) == list(rows)


def assert_blocks(graph: OperatorGraph, mask: int, count: int) -> RowBlocks | None:
    model = LineBufferModel(graph, ACCELERATOR)
    lines = model.lines(mask)
    blocks = row_blocks(graph, mask, lines, count)
    if blocks is None:
        return None
    assert all(len(stage) == count for stage in blocks.stages)
    workers = Workers(graph, mask, lines, blocks)
    workers.run()
    sizes = Sizes(graph, ACCELERATOR)
    for i in sizes.outputs(mask):
        assert [workers.crossed["store", i, row] for row in range(graph.tensor(i).height)] == [1] * graph.tensor(
            i
        ).height
    inputs = sizes.outside_inputs(mask)
    for i in inputs:
        loaded = [workers.crossed["make", i, row] for row in range(graph.tensor(i).height)]
        assert min(loaded) >= 1
        assert sum(loaded) == blocks.made_rows[i]
    cost = blocks.cost(model.cost(mask), sizes)
    assert cost.dram_bytes >= model.cost(mask).dram_bytes
    assert cost.buffer_bytes == model.cost(mask).buffer_bytes
    if count == 1:  # rows before the first that is demanded are not made
        assert cost == model.cost(mask)
        assert blocks.speedup > 1 - 1e-9
    return blocks


@given(data=st.data(), graph=operator_graphs(), count=st.integers(1, 4))
@FEW
def test_random_groups(data: st.DataObject, graph: OperatorGraph, count: int) -> None:
    found = assert_blocks(graph, data.draw(group_masks(graph)), count)
    event("blocks" if found is not None else "none")


@pytest.mark.slow
@given(data=st.data(), graph=operator_graphs(max_operators=20), count=st.integers(1, 4))
@MANY
def test_many_random_groups(data: st.DataObject, graph: OperatorGraph, count: int) -> None:
    assert_blocks(graph, data.draw(group_masks(graph)), count)


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("graph", [chain(5), residual_block(2), residual_block(3), squeeze_and_excite()], ids=str)
def test_known_networks(graph: OperatorGraph, count: int) -> None:
    assert assert_blocks(graph, everything(graph), count) is not None


def test_halo_of_two_convolutions() -> None:
    """Two 3-row convolutions of 8 rows in two blocks: one row of the first, two of the input on each side again."""
    b = Builder(height=8)
    b.conv(b.conv(-1))
    graph = b.graph()
    blocks = assert_blocks(graph, 0b11, 2)
    assert blocks is not None
    assert (blocks.made_rows, blocks.shared, len(blocks.stages)) == ({-1: 12, 0: 10, 1: 8}, frozenset(), 1)
    whole = LineBufferModel(graph, ACCELERATOR).cost(0b11)
    cost = blocks.cost(whole, Sizes(graph, ACCELERATOR))
    assert cost.input_bytes == whole.input_bytes * 12 // 8


def test_a_result_with_a_halo_is_stored_once() -> None:
    b = Builder(height=8)
    b.conv(b.conv(-1))
    blocks = assert_blocks(b.graph(0, 1), 0b11, 2)
    assert blocks is not None
    assert blocks.stored_apart == {0}


def test_all_rows_wait_for_all_workers() -> None:
    """Squeeze and excite: the map that is scaled is held whole anyway, and shared."""
    graph = squeeze_and_excite()
    blocks = assert_blocks(graph, everything(graph), 2)
    assert blocks is not None
    assert len(blocks.stages) == 2
    assert blocks.shared


def test_sums_over_rows_that_nobody_holds() -> None:
    """Every worker adds up its own rows; the sums are put together in the next stage."""
    b = Builder(height=8)
    b.pool(b.conv(-1))
    blocks = assert_blocks(b.graph(), 0b11, 2)
    assert blocks is not None
    assert (len(blocks.stages), blocks.shared, blocks.made_rows[0]) == (2, frozenset(), 8)


def test_what_workers_must_share_but_nobody_holds() -> None:
    """A flattened map of which another group takes some rows: refused where its lines were not all there."""
    b = Builder(height=8)
    b.flatten(b.conv(-1))
    graph = b.graph()
    lines = LineBufferModel(graph, ACCELERATOR).lines(0b11)
    assert row_blocks(graph, 0b11, lines, 2) is not None
    assert row_blocks(graph, 0b11, {**lines, 0: 7}, 2) is None
