"""LBDF executed row by row: loads, computes, stores and frees of single rows, counted one after another.

Written apart from :mod:`tvm_fusion.cost_models.line_buffer`, whose figures it checks. It shares with it
the width of dtypes and weights and the form of the report, nothing else.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.scheme import TensorBuffer
from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits, weight_bytes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph


@dataclass(frozen=True, slots=True)
class SimulationResult:
    """What an executed group held and moved; DRAM bytes are for the whole batch.

    ``buffer_bytes`` is the requirement: ``buffers`` and the resident weights, each at its own peak.
    ``peak_occupancy_bytes`` is the most that was on chip at one moment, weights included.
    ``timeline`` (if kept) has one entry an event: (number, occupancy in bytes, DRAM bytes so far);
    the first is the loading of the weights. ``recomputed_macs``: executed beyond once in a scheme that chooses to.
    """

    buffer_bytes: int
    buffers: tuple[TensorBuffer, ...]
    input_bytes: int
    output_bytes: int
    weight_bytes: int
    peak_occupancy_bytes: int
    timeline: tuple[tuple[int, int, int], ...] = ()
    recomputed_macs: int = 0

    @property
    def dram_bytes(self) -> int:
        """Everything that moved: inputs, outputs and weights."""
        return self.input_bytes + self.output_bytes + self.weight_bytes


def simulate_line_buffer(
    graph: OperatorGraph, mask: int, accelerator: Accelerator, keep_timeline: bool = False
) -> SimulationResult:
    """Execute the operators of ``mask`` as one LBDF group, image after image.

    Whether the requirement fits the buffer is not asked. Raises CostModelError for a mask that
    names no operator or one that the graph lacks.
    """
    if mask <= 0 or mask >> len(graph):
        raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {len(graph) - 1}, at least one")
    return RowExecution(graph, mask, accelerator).result(keep_timeline)


@dataclass(slots=True)
class _Rows:
    """One tensor on chip: ``present`` maps each row to the operators that are still to read it, oldest row first."""

    height: int
    row_bits: int
    batch: int
    in_place: bool = False
    written: bool = False
    made: int = 0
    moved: int = 0
    peak: int = 0
    present: dict[int, set[int]] = field(default_factory=dict)

    def held_bytes(self, rows: int) -> int:
        """On chip, where every row starts at a whole byte."""
        return rows * bytes_of(self.row_bits, 1)

    def moved_bytes(self, rows: int) -> int:
        """In DRAM, where rows lie close together."""
        return bytes_of(rows * self.row_bits, 1)

    @property
    def occupied_bytes(self) -> int:
        return 0 if self.in_place else self.held_bytes(len(self.present))


class RowExecution:
    """The schedule of one image; later images repeat it with the weights already there.

    ``written``: the tensors that are made whole and written; without it all that are needed outside.
    """

    def __init__(
        self, graph: OperatorGraph, mask: int, accelerator: Accelerator, written: Collection[int] | None = None
    ) -> None:
        self.graph = graph
        self.inside = [op.id for op in graph.operators if mask >> op.id & 1]
        members = set(self.inside)
        read = {operand for i in self.inside for operand in graph.operators[i].inputs}
        outside = read - members
        network_inputs = sorted((i for i in outside if i < 0), reverse=True)
        self.outside = network_inputs + sorted(i for i in outside if i >= 0)
        self.weight_bytes = 0
        for i in self.inside:
            self.weight_bytes += weight_bytes(graph.operators[i], accelerator)
        self.state: dict[int, _Rows] = {}
        for i in (*self.outside, *self.inside):
            tensor = graph.tensor(i)
            bits = tensor.row_elements * (accelerator.activation_bits or dtype_bits(tensor.dtype))
            self.state[i] = _Rows(tensor.height, bits, tensor.batch)
        # Network inputs stand before operators, in the network's order.
        self.operands = {
            i: sorted(
                zip(graph.operators[i].inputs, graph.operators[i].demands, strict=True),
                key=lambda pair: (pair[0] >= 0, abs(pair[0])),
            )
            for i in self.inside
        }
        self.readers = {i: [c for c in graph.consumers[i] if c in members] for i in self.state}
        self._mark_written_and_in_place(members, written)
        self._plan_releases()
        self.occupancy = self.peak_occupancy = self.weight_bytes
        self.events: list[tuple[int, int | None]] = []
        self.keep = False

    def _mark_written_and_in_place(self, members: set[int], written: Collection[int] | None) -> None:
        merges: dict[int, int] = {}  # in-place operands of each operator
        for i in self.inside:
            state, readers = self.state[i], self.readers[i]
            elsewhere = i in self.graph.outputs or any(c not in members for c in self.graph.consumers[i])
            state.written = elsewhere if written is None else i in written
            merges[i] = sum(self.state[operand].in_place for operand, _ in self.operands[i])
            if elsewhere or len(readers) != 1:
                continue
            reader = self.graph.operators[readers[0]]
            if not reader.pointwise or reader.shape != self.graph.operators[i].shape:
                continue
            lowest = self.operands[reader.id][0][0]
            state.in_place = i == lowest or merges[i] < 2

    def _plan_releases(self) -> None:
        """Which rows are ever made, what each of them needs, and after which operator row a row is free."""
        self.executed = dict.fromkeys(self.state, 0)
        # Of each operator row: (operand, first row, last row, whether they are held until it is made).
        self.needs: dict[int, list[list[tuple[int, int, int, bool]]]] = {}
        self.waiting: dict[tuple[int, int], set[int]] = {}  # (tensor, row) -> operators that will read it
        self.frees: dict[tuple[int, int], list[tuple[int, int]]] = {}  # (operator, row) -> (tensor, row)
        for i in reversed(self.inside):
            if self.state[i].written or not self.readers[i]:
                self.executed[i] = self.state[i].height
            rows = range(self.executed[i])
            self.needs[i] = [[] for _ in rows]
            for operand, demand in self.operands[i]:
                height = self.state[operand].height
                holds = demand.kind != "accumulate"
                changes = demand.kind in ("window", "row", "table")  # else every row needs the same
                last_use: dict[int, int] = {}
                for row in rows:
                    first, last = demand.rows(row, height)
                    if last < first:
                        continue
                    self.needs[i][row].append((operand, first, last, holds))
                    self.executed[operand] = max(self.executed[operand], last + 1)
                    if holds and (changes or row == rows[-1]):
                        last_use.update(dict.fromkeys(range(first, last + 1), row))
                for needed, user in last_use.items():
                    self.waiting.setdefault((operand, needed), set()).add(i)
                    self.frees.setdefault((i, user), []).append((operand, needed))

    def run(self) -> None:
        """All steps, then what is written or loaded without anybody inside demanding it."""
        last_operators = [i for i in self.inside if not self.readers[i]]
        steps = max(self.state[i].height for i in last_operators)
        for step in range(steps):
            for i in last_operators:
                height = self.state[i].height
                if height == 1 < steps and step < steps - 1:
                    continue
                self._make_up_to(i, -(-(step + 1) * height // steps) - 1)
        for i in self.inside:
            if self.state[i].written:
                self._make_up_to(i, self.state[i].height - 1)
        for i in self.outside:
            self._make_up_to(i, self.state[i].height - 1)
        self._check_freed()

    def _check_freed(self) -> None:
        for i, state in self.state.items():
            if state.present:
                raise CostModelError(f"rows {sorted(state.present)} of tensor {i} were never freed")

    def _make_up_to(self, tensor: int, last_row: int) -> None:
        """Make the rows of a tensor in order; an explicit stack instead of recursion."""
        stack = [(tensor, last_row)]
        while stack:
            i, target = stack[-1]
            row = self.state[i].made
            if row > target:
                stack.pop()
            elif i not in self.needs:
                self._load(i, row)
            else:
                for operand, _, last, _ in self.needs[i][row]:
                    if self.state[operand].made <= last:
                        stack.append((operand, last))
                        break
                else:
                    self._compute(i, row)

    def _load(self, i: int, row: int) -> None:
        self._appear(i, row, i)
        self._drop_if_unneeded(i, row)

    def _compute(self, i: int, row: int) -> None:
        for operand, first, last, holds in self.needs[i][row]:
            if holds and not self.state[operand].present.keys() >= set(range(first, last + 1)):
                raise CostModelError(f"operator {i} makes row {row} without rows {first} .. {last} of tensor {operand}")
        self._appear(i, row, None)
        if self.state[i].written:
            self.state[i].moved += 1
            self._event(i)
        for operand, used in self.frees.get((i, row), ()):
            self.state[operand].present[used].discard(i)
            self._drop_if_unneeded(operand, used)
        self._drop_if_unneeded(i, row)

    def _appear(self, i: int, row: int, moved: int | None) -> None:
        """A row comes into being on chip: the only moment at which a tensor can reach a new peak."""
        state = self.state[i]
        before = state.occupied_bytes
        state.present[row] = set(self.waiting.get((i, row), ()))
        state.made = row + 1
        if moved is not None:
            state.moved += 1
        if not state.in_place:
            oldest = next(iter(state.present))
            state.peak = max(state.peak, row - oldest + 1)
        self.occupancy += state.occupied_bytes - before
        self.peak_occupancy = max(self.peak_occupancy, self.occupancy)
        self._event(moved)

    def _drop_if_unneeded(self, i: int, row: int) -> None:
        state = self.state[i]
        if not state.present[row]:
            before = state.occupied_bytes
            del state.present[row]
            self.occupancy += state.occupied_bytes - before
            self._event(None)

    def _event(self, moved: int | None) -> None:
        if self.keep:
            self.events.append((self.occupancy, moved))

    def result(self, keep_timeline: bool) -> SimulationResult:
        self.keep = keep_timeline
        self.run()
        buffers = []
        for i, state in sorted(self.state.items()):
            lines = 0 if state.in_place else max(1, state.peak)
            buffers.append(TensorBuffer(i, lines, state.held_bytes(lines)))
        moved = {i: state.batch * state.moved_bytes(state.moved) for i, state in self.state.items()}
        return SimulationResult(
            buffer_bytes=sum(buffer.bytes for buffer in buffers) + self.weight_bytes,
            buffers=tuple(buffers),
            input_bytes=sum(moved[i] for i in self.outside),
            output_bytes=sum(moved[i] for i in self.inside),
            weight_bytes=self.weight_bytes,
            peak_occupancy_bytes=self.peak_occupancy,
            timeline=self._timeline() if keep_timeline else (),
        )

    def _timeline(self) -> tuple[tuple[int, int, int], ...]:
        """The events of every image, one image after another."""
        dram_bytes = self.weight_bytes
        timeline = [(0, self.weight_bytes, dram_bytes)]
        for image in range(max(state.batch for state in self.state.values())):
            rows = dict.fromkeys(self.state, 0)
            for occupancy, moved in self.events:
                if moved is not None and image < self.state[moved].batch:
                    state = self.state[moved]
                    rows[moved] += 1
                    dram_bytes += state.moved_bytes(rows[moved]) - state.moved_bytes(rows[moved] - 1)
                timeline.append((len(timeline), occupancy, dram_bytes))
        return tuple(timeline)
