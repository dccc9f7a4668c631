"""row_blocks: a group of LBDF executed by several workers, each of which makes the rows of a block.

Every worker has line buffers of its own, and makes or loads for itself what its rows need, so that rows at the border
of two blocks are made twice (the halo). What needs all rows of a tensor waits for all workers: it belongs to a later
stage. Tensors that a later stage reads are shared by the workers, which hold them whole as the group does anyway; sums
over rows are added up by every worker over its own rows, and put together in the next stage.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

from tvm_fusion.cost_models.row_program import row_program
from tvm_fusion.cost_models.row_spans import NO_ROWS, Span, demanded, hull, share
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph, demand_order, members

Kind = Literal["make", "store", "start", "add", "combine"]


class BlockEvent(NamedTuple):
    """``make`` (or load) row ``row`` of ``tensor``, or ``store`` it to DRAM.

    For an operator ``reader`` that adds up the rows of ``tensor``: ``start`` the sums of this block, ``add`` row
    ``row`` to them, ``combine`` the sums of block ``row`` with those before.
    """

    kind: Kind
    tensor: int
    row: int
    reader: int = -1


Stages = tuple[tuple[tuple[BlockEvent, ...], ...], ...]


@dataclass(frozen=True)
class RowBlocks:
    """``stages[s][b]``: the events of block ``b`` in stage ``s``; all blocks of a stage end before the next begins.

    ``tensors[s]``: what stage ``s`` makes or loads. ``shared`` tensors are read in later stages than they are made.
    ``stored_apart`` are results of which some rows are made for others' sake; all other results are stored as they are
    made. ``made_rows``: rows of each tensor that the blocks together make or load. ``speedup``: work of the group over
    that of the largest blocks of all stages, in MACs and elements.
    """

    count: int
    stages: Stages
    tensors: tuple[tuple[int, ...], ...]
    shared: frozenset[int]
    stored_apart: frozenset[int]
    made_rows: dict[int, int]
    speedup: float

    def cost(self, cost: GroupCost, sizes: Sizes) -> GroupCost:
        """What the group moves in blocks, where it is ``cost`` in one.

        Every worker has a buffer, and holds there what the group holds in one block.
        """
        inputs = sizes.outside_inputs(sum(1 << i for i in cost.operators))
        loaded = (sizes.graph.tensor(i).batch * -(-self.made_rows[i] * sizes.row_bits[i] // 8) for i in inputs)
        return replace(cost, input_bytes=sum(loaded))


def row_blocks(graph: OperatorGraph, mask: int, lines: Mapping[int, int], count: int) -> RowBlocks | None:
    """Group ``mask`` in ``count`` blocks of rows, with the ``lines`` of every tensor that it has in one (0: in place).

    None if a tensor that all workers must share is not held whole. Blocks of a group that is not worth it are found
    too: see ``speedup``.
    """
    return _Division(graph, mask, lines, count).found()


class _Division:
    def __init__(self, graph: OperatorGraph, mask: int, lines: Mapping[int, int], count: int) -> None:
        self.graph, self.lines, self.count = graph, lines, count
        self.inside = list(members(mask))
        self.events = row_program(graph, mask)
        self.made = dict.fromkeys(members(mask), 0)
        for tensor, row in self.events:
            self.made[tensor] = row + 1
        self.outside = [i for i in self.made if i < 0 or not mask >> i & 1]
        self.edges = {
            i: list(zip(graph.operators[i].inputs, graph.operators[i].demands, strict=True)) for i in self.inside
        }
        # Readers of rows, and those that add them up one after another.
        self.readers: dict[int, list[int]] = {i: [] for i in self.made}
        self.adders: dict[int, list[int]] = {i: [] for i in self.made}
        for i in self.inside:
            for operand, demand in self.edges[i]:
                (self.adders if demand.kind == "accumulate" else self.readers)[operand].append(i)
        self.results = {i for i in self.inside if graph.successor_masks[i] & ~mask or graph.output_mask >> i & 1}
        self.early: set[int] = set()  # shared tensors that even their own stage reads across blocks
        self.late: set[int] = set()  # what is made in the stage of its readers, as it is not held for them
        self.stage: dict[int, int] = {}
        self.shared: set[int] = set()

    def found(self) -> RowBlocks | None:
        while True:
            self._find_stages()
            spans = [self._spans(block) for block in range(self.count)]
            wider = {i for i in self.shared if any(spans[b][i] != self._own(i, b) for b in range(self.count))}
            not_held = {i for i in self.shared if self.lines[i] < self.made[i]}
            if wider - self.early:
                self.early |= wider
            elif not_held:
                if not_held <= self.late or min(not_held) < 0:
                    return None
                self.late |= not_held
            else:
                break
        self._close_gaps(spans)
        apart = {i for i in self.results if any(spans[b][i] != self._own(i, b) for b in range(self.count))}
        stages = self._events_of_stages(spans, apart)
        made_rows = {i: sum(last - first for first, last in (span[i] for span in spans)) for i in self.made}
        tensors = tuple(
            tuple(sorted((i for i in self.made if self.stage[i] == s), key=demand_order)) for s in range(len(stages))
        )
        speedup = self._speedup(spans)
        return RowBlocks(
            self.count, stages, tensors, frozenset(self.shared), frozenset(apart), made_rows, speedup
        )  # fmt: skip

    def _crosses(self, operand: int, reader: int) -> bool:
        """Whether a reader must wait until all workers have made an operand."""
        if operand in self.early or reader in self.adders[operand]:
            return True
        return self.made[operand] > 1 and (operand, "all") in ((o, demand.kind) for o, demand in self.edges[reader])

    def _find_stages(self) -> None:
        """An operator has the stage of its operands or the next; an outside or late tensor that of its first reader."""
        self.stage = {}
        for i in self.inside:
            self.stage[i] = max((self.stage.get(o, 0) + self._crosses(o, i) for o, _ in self.edges[i]), default=0)
        for i in [*sorted(self.late, reverse=True), *self.outside]:
            self.stage[i] = min(self.stage[c] - self._crosses(i, c) for c in [*self.readers[i], *self.adders[i]])
        self.shared = {i for i in self.made if any(self.stage[c] > self.stage[i] for c in self.readers[i])}

    def _own(self, i: int, block: int) -> Span:
        """The rows of a result or a shared tensor that a block is to make."""
        return share(self.made[i], block, self.count)

    def _spans(self, block: int) -> dict[int, Span]:
        """The rows of every tensor that a block makes or loads: its own, and what those need in the same stage."""
        spans: dict[int, Span] = {}
        for i in [*reversed(self.inside), *self.outside]:
            wanted = i in self.shared or i in self.results or self.adders[i] or (i >= 0 and not self.readers[i])
            spans[i] = self._own(i, block) if wanted else NO_ROWS
            for c in self.readers[i]:
                if self.stage[c] == self.stage[i]:
                    spans[i] = hull(spans[i], self._demanded(i, c, spans[c]))
        return spans

    def _demanded(self, operand: int, reader: int, rows: Span) -> Span:
        """The rows of an operand that ``rows`` of a reader need."""
        (demand,) = (demand for o, demand in self.edges[reader] if o == operand)
        return demanded(demand, rows, self.graph.tensor(operand).height)

    def _close_gaps(self, spans: list[dict[int, Span]]) -> None:
        """Rows of outside tensors that nobody needs are loaded all the same, as they are in one block."""
        for i in self.outside:
            end = 0
            for span in spans:
                first, last = span[i] if span[i][0] < span[i][1] else (end, end)
                span[i] = min(first, end), last
                end = max(end, last)
            spans[-1][i] = spans[-1][i][0], self.made[i]

    def _events_of_stages(self, spans: list[dict[int, Span]], apart: set[int]) -> Stages:
        stages = [[self._starts(s) for _ in spans] for s in range(1 + max(self.stage.values()))]
        for tensor, row in self.events:
            for block, span in enumerate(spans):
                first, last = span[tensor]
                if not first <= row < last:
                    continue
                events = stages[self.stage[tensor]][block]
                if row == first:
                    events += self._combinations(tensor)
                events.append(BlockEvent("make", tensor, row))
                own = self._own(tensor, block)
                if own[0] <= row < own[1]:
                    events += [BlockEvent("store", tensor, row)] if tensor in apart else []
                    events += [BlockEvent("add", tensor, row, reader) for reader in self.adders[tensor]]
        return tuple(tuple(tuple(events) for events in blocks) for blocks in stages)

    def _starts(self, stage: int) -> list[BlockEvent]:
        pairs = [(i, reader) for i in self.made if self.stage[i] == stage for reader in self.adders[i]]
        return [BlockEvent("start", i, 0, reader) for i, reader in pairs]

    def _combinations(self, reader: int) -> list[BlockEvent]:
        """What a worker puts together before it makes the first row of ``reader``."""
        operands = [o for o, _ in self.edges.get(reader, ()) if reader in self.adders[o]]
        return [BlockEvent("combine", o, block, reader) for o in operands for block in range(self.count)]

    def _speedup(self, spans: list[dict[int, Span]]) -> float:
        work = {i: self._row_work(i) for i in self.made}
        alone = sum(work[i] * rows for i, rows in self.made.items())
        longest = 0.0
        for s in range(1 + max(self.stage.values())):
            here = [i for i in self.made if self.stage[i] == s]
            longest += max(sum(work[i] * (span[i][1] - span[i][0]) for i in here) for span in spans)
        return alone / longest if longest else 1.0  # no row of anything is needed

    def _row_work(self, i: int) -> float:
        macs = self.graph.operators[i].macs / self.graph.operators[i].height if i >= 0 else 0
        return macs + self.graph.tensor(i).row_elements
