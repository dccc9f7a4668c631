"""PassFunction: the PrimFunc of a group that executes in passes, each making its rows one after another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.cost_models.pass_schedule import THROUGHOUT, PassSteps, pass_schedule
from tvm_fusion.graph.graph import mask_of
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import element_count
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.pass_buffers import PassBuffers, pass_name
from tvm_fusion.passes.lowering.row_buffers import RowBuffers
from tvm_fusion.passes.lowering.row_function import RowFunction
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.relax_tools import Array


class PassFunction(RowFunction):
    """A loop over events for every pass, one after another; a program with the events of all of them.

    In the program events have numbers of their own in each pass: the loading of the weights that come for this pass is
    the first, if there are any, then come its tensors. Scales lie where an earlier pass left them.
    ``split``, ``kept`` and ``weights`` are those of the cost model's "two-pass", in numbers of the group's graph.
    """

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        split: Sequence[int],
        kept: Sequence[int],
        weights: str,
    ) -> None:
        graph = group.graph
        model = MultiPassModel(graph, OWN_WIDTHS)
        cost = model.cost(group.everything, {"split": list(split), "kept": list(kept), "weights": weights})
        self.passes = pass_schedule(model.group(group.everything, mask_of(split), weights == "shared"), mask_of(kept))
        self._number = 0  # of the pass that is being written
        self._copies_of: dict[tuple[int, int, int], Any] = {}  # of weights: by operator, operand, pass that loads it
        self._loads: dict[int, list[Any]] = {}  # by pass what loads its weights
        super().__init__(group, functions, result_shapes, options, cost)

    def _row_buffers(self) -> RowBuffers:
        return PassBuffers(self.group, self.passes, self.options.scope)

    def _program(self) -> Array:
        events = []
        for number, p in enumerate(self.passes):
            code = {what: k for k, what in enumerate(self._happening(number))}
            events += [(0, 0)] if None in code else []
            events += [(code[i], row) for i, row in p.events if i in code]
        return np.array(events, PROGRAM_DTYPE).reshape(len(events), 2)

    def _happening(self, number: int) -> list[int | None]:
        """What happens in a pass, in the order of its numbers: weights are loaded (None), tensors have a row."""
        p = self.passes[number]
        loads = any(loaded == number and self._has_weights(i) for i, loaded in p.weights.items())
        outside = sorted((i for i in p.lines if i < 0), reverse=True)
        # Nothing happens to a scale at hand, unless its row is added up.
        inside = [i for i in sorted(p.lines) if i >= 0 and (i not in p.at_hand or self._adding(i, p))]
        return [*[None] * loads, *outside, *inside]

    def _has_weights(self, i: int) -> bool:
        """Whether an operator has weights that are copied."""
        weights = (operand for operand in self._operands(i).values() if operand in self.group.weights)
        return any(element_count(self._dram_weight(weight)) > 1 for weight in weights)

    def _adding(self, t: int, p: PassSteps) -> list[int]:
        """Operators of a pass that add up the rows of a tensor."""
        readers = (self.graph.operators[c] for c in self.graph.consumers[t] if c in p.executed)
        return [
            c.id
            for c in readers
            if any(o == t and d.kind == "accumulate" for o, d in zip(c.inputs, c.demands, strict=True))
        ]

    def _body(self, table: Any) -> Any:
        self._copies_of, self._loads = {}, {}
        assert isinstance(self.buffers, PassBuffers), "made by _row_buffers"
        loops, first = [], 0
        for number, p in enumerate(self.passes):
            self._number = number
            self.buffers.begin(number)
            happening = self._happening(number)
            events = sum(i in happening for i, _ in p.events) + (None in happening)
            event, self.row = loop_var("event"), loop_var("row")
            rows = {i: self._of_pass(i, p) for i in happening if i is not None}
            bodies = [sequence(self._loads[number]) if i is None else rows[i] for i in happening]
            loops.append(loop_nest([(event, events)], self._dispatched(table, index(first) + event, bodies)))
            first += events
        return sequence(loops)

    def _of_pass(self, i: int, p: PassSteps) -> Any:
        """What happens when a pass loads or makes a row of tensor ``i``, or finds it there."""
        made = [] if i in p.at_hand else [self._made(i)]
        stored = [self._stored(i)] if i in p.results and i in self.results else []
        return sequence([*made, *stored, *self._added_up(i, self._adding(i, p))])

    def _weight(self, i: int, k: int, constant: Any) -> Any:
        dram, p = self._dram_weight(constant), self.passes[self._number]
        if element_count(dram) == 1:
            return dram
        loaded = p.weights[i]
        if (i, k, loaded) not in self._copies_of:
            name = pass_name(f"weight_{i}_{k}", loaded)
            copy = self.buffers.on_chip(name, element_count(dram), str(dram.dtype), self.options.scope)
            self._copies_of[i, k, loaded] = copy
            if loaded == THROUGHOUT or i in p.first_weights:
                self.start.append(self._whole_weight(dram, copy))
            if loaded != THROUGHOUT:
                self._loads.setdefault(loaded, []).append(self._whole_weight(dram, copy))
        return self._copies_of[i, k, loaded]
