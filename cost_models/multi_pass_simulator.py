"""A group in passes executed row by row: weights, rows and scales come and go, counted one after another.

Written apart from :mod:`tvm_fusion.cost_models.multi_pass`, whose figures it checks: it finds the passes in its own
way, operator by operator, and executes each as the simulator of LBDF does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from typing import NamedTuple

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.scheme import TensorBuffer
from tvm_fusion.cost_models.simulator import RowExecution, SimulationResult
from tvm_fusion.cost_models.sizes import weight_bytes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of


def simulate_passes(
    graph: OperatorGraph,
    mask: int,
    accelerator: Accelerator,
    split: Collection[int],
    kept: Collection[int] = (),
    weights: str = "shared",
    keep_timeline: bool = False,
) -> SimulationResult:
    """Execute the operators of ``mask`` in passes, the chains of the accumulating operators ``split`` split off.

    The weights of ``kept`` are on chip throughout, those of others while passes in succession use them ("shared") or
    anew for each pass ("reloaded"). In the result ``buffers`` are the most lines of every tensor in any pass, and the
    requirement is that of the pass that needs most. Raises CostModelError for a mask that is no group.
    """
    if mask <= 0 or mask >> len(graph):
        raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {len(graph) - 1}, at least one")
    return _Run(graph, mask, accelerator, set(split), set(kept), weights == "shared", keep_timeline).result()


class _Pass(NamedTuple):
    executed: set[int]
    written: set[int]
    scales: set[int]  # made to stay


def _passes(graph: OperatorGraph, inside: list[int], split: set[int]) -> list[_Pass]:
    """What every pass executes, found from the definition of levels."""
    group = set(inside)
    chain: set[int] = set()
    level: dict[int, int] = {}
    for i in inside:
        op = graph.operators[i]
        operands = [t for t in op.inputs if t in group]
        if i in split or (op.height == 1 and chain & set(operands)):
            chain.add(i)
        level[i] = max((level[t] + (t in chain and op.height > 1) for t in operands), default=0)
    readers = {i: [c for c in graph.consumers[i] if c in group] for i in inside}
    scales = {i for i in chain if any(level[c] > level[i] for c in readers[i])}
    outputs = {i for i in inside if i in graph.outputs or set(graph.consumers[i]) - group}
    results = outputs | {i for i in inside if not readers[i]}  # nobody may want some of them
    found: list[_Pass] = []
    last = max(level.values())
    for number in range(last + 1):
        made = {i for i in scales if level[i] == number}
        done = {i for p in found for i in p.executed}
        ended = {i for i in results & chain if level[i] == number}
        waiting = [*(made | ended if number < last else results - done)]
        executed: set[int] = set()
        while waiting:
            i = waiting.pop()
            if i in executed or (i in scales and level[i] < number):
                continue
            executed.add(i)
            waiting += [t for t in graph.operators[i].inputs if t in group]
        found.append(_Pass(executed, outputs & executed - done, made))
    return found


class _PassExecution(RowExecution):
    """One pass of one image: LBDF with scales at hand, which nobody loads, and scales that stay when they are made."""

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator, this: _Pass, scales: set[int]) -> None:
        super().__init__(graph, mask_of(this.executed), accelerator, this.written)
        self.at_hand = scales & set(self.outside)
        self.stay = this.scales
        self.keep = True

    def _load(self, i: int, row: int) -> None:
        if i in self.at_hand:
            # Its byte count is among those of the scales, so that it comes and goes without one here.
            self.occupancy -= self.state[i].held_bytes(1)
            self._appear(i, row, None)
            self._drop_if_unneeded(i, row)
        else:
            super()._load(i, row)

    def _drop_if_unneeded(self, i: int, row: int) -> None:
        if i in self.stay:
            return
        if i in self.at_hand and not self.state[i].present[row]:
            self.occupancy += self.state[i].held_bytes(1)
        super()._drop_if_unneeded(i, row)

    def _check_freed(self) -> None:
        for i in self.stay:
            if self.state[i].present.keys() != {0}:
                raise CostModelError(f"scale {i} is not on chip after its pass")
            self.state[i].present.clear()
        super()._check_freed()


class _Run:
    def __init__(
        self,
        graph: OperatorGraph,
        mask: int,
        accelerator: Accelerator,
        split: set[int],
        kept: set[int],
        shared: bool,
        keep: bool,
    ) -> None:
        self.graph, self.accelerator, self.kept, self.shared, self.keep = graph, accelerator, kept, shared, keep
        self.inside = [op.id for op in graph.operators if mask >> op.id & 1]
        self.passes = _passes(graph, self.inside, split)
        self.weights = {i: weight_bytes(graph.operators[i], accelerator) for i in self.inside}
        self.here: set[int] = set()  # operators whose weights are on chip
        self.scales: dict[int, int] = {}  # bytes of those on chip
        self.lines: dict[int, TensorBuffer] = {}
        self.made: dict[int, Counter[int]] = {i: Counter() for i in self.inside}  # of the first image: rows
        self.moved: Counter[str] = Counter()
        self.requirement = self.peak = 0
        self.timeline: list[tuple[int, int, int]] = []

    def result(self) -> SimulationResult:
        self._load_weights(self.kept)
        for image in range(self.graph.batch):
            for number in range(len(self.passes)):
                self._run_pass(number, image)
            if self.scales:
                raise CostModelError(f"scales {sorted(self.scales)} are still on chip after the last pass")
        recomputed = 0
        for i, rows in self.made.items():
            op = self.graph.operators[i]
            recomputed += op.batch * op.macs * sum(count - 1 for count in rows.values()) // op.height
        return SimulationResult(
            buffer_bytes=self.requirement,
            buffers=tuple(self.lines[i] for i in sorted(self.lines)),
            input_bytes=self.moved["inputs"],
            output_bytes=self.moved["outputs"],
            weight_bytes=self.moved["weights"],
            peak_occupancy_bytes=self.peak,
            timeline=tuple(self.timeline),
            recomputed_macs=recomputed,
        )

    def _run_pass(self, number: int, image: int) -> None:
        this = self.passes[number]
        self.here &= self.kept | (this.executed if self.shared else set())
        self._load_weights(this.executed - self.here)
        execution = _PassExecution(self.graph, self.accelerator, this, set(self.scales))
        others = sum(self.scales.values()) + self._weight_bytes() - execution.weight_bytes
        execution.run()
        self._replay(execution, others, image)
        self._note_lines(execution)
        if image == 0:
            for i in this.executed:
                self.made[i].update(range(execution.state[i].made))
        self.scales |= {i: execution.state[i].held_bytes(1) for i in this.scales}
        later = {t for p in self.passes[number + 1 :] for i in p.executed for t in self.graph.operators[i].inputs}
        self.scales = {i: held for i, held in self.scales.items() if i in later}

    def _note_lines(self, execution: _PassExecution) -> None:
        """Line buffers of the pass, and all that is on chip beside them."""
        total = 0
        for i, state in execution.state.items():
            lines = 0 if state.in_place else max(1, state.peak)
            buffer = TensorBuffer(i, lines, state.held_bytes(lines))
            total += buffer.bytes
            if i not in self.lines or self.lines[i].lines < lines:
                self.lines[i] = buffer
        waiting = sum(held for i, held in self.scales.items() if i not in execution.at_hand)
        self.requirement = max(self.requirement, total + waiting + self._weight_bytes())

    def _weight_bytes(self) -> int:
        return sum(self.weights[i] for i in self.here)

    def _load_weights(self, operators: Collection[int]) -> None:
        self.here |= set(operators)
        self._event(
            self._weight_bytes() + sum(self.scales.values()), "weights", sum(self.weights[i] for i in operators)
        )

    def _replay(self, execution: _PassExecution, others: int, image: int) -> None:
        """The events of a pass, with what else is on chip."""
        rows: Counter[int] = Counter()
        for occupancy, tensor in execution.events:
            moved = 0
            if tensor is not None and image < execution.state[tensor].batch:
                rows[tensor] += 1
                state = execution.state[tensor]
                moved = state.moved_bytes(rows[tensor]) - state.moved_bytes(rows[tensor] - 1)
            self._event(occupancy + others, "outputs" if tensor in execution.needs else "inputs", moved)

    def _event(self, occupancy: int, kind: str, moved: int) -> None:
        self.peak = max(self.peak, occupancy)
        self.moved[kind] += moved
        if self.keep:
            self.timeline.append((len(self.timeline), occupancy, self.moved.total()))
