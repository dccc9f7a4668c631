"""BlockFunction: the PrimFunc of a group whose rows several threads make, each those of a block."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import ForKind

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.row_blocks import BlockEvent, RowBlocks
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE
from tvm_fusion.passes.lowering.row_function import RowFunction
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.relax_tools import Array

# What an event does apart from its row: kind, tensor, reader.
Action = tuple[str, int, int]
IDLE: Action = ("idle", 0, -1)


class BlockFunction(RowFunction):
    """As RowFunction, in the stages and blocks of ``blocks``: a parallel loop over the blocks of every stage.

    Line buffers are allocated inside of it, shared tensors and weights outside. The program has the events of the first
    stage, block after block, all of the same number (the shorter ones idle at their end), then those of the next stage.
    """

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        blocks: RowBlocks,
    ) -> None:
        super().__init__(group, functions, result_shapes, options)
        self.row_blocks = blocks
        self.block = loop_var("block")
        self.own: list[Any] = []  # buffers that every thread has of its own
        self.parts: dict[tuple[int, int], Any] = {}  # what starts and adds to the sums of a block

    @property
    def combines(self) -> bool:
        """Whether the sums of several threads can be put together."""
        return all(rows.combines for rows in self.rows.values())

    def _program(self) -> Array:
        rows = []
        for stage in self.row_blocks.stages:
            code = {action: k for k, action in enumerate(_actions(stage))}
            longest = max(map(len, stage))
            for events in stage:
                rows += [(code[_action(event)], event.row) for event in events]
                rows += [(code[IDLE], 0)] * (longest - len(events)) if len(events) < longest else []
        return np.array(rows, PROGRAM_DTYPE).reshape(len(rows), 2)

    def _body(self, table: Any) -> Any:
        self.own, self.parts = [], {}
        made, first = [], 0
        for number, stage in enumerate(self.row_blocks.stages):
            made.append(self._stage(number, table, first))
            first += len(stage) * max(map(len, stage))
        return sequence(made)

    def _stage(self, number: int, table: Any, first: int) -> Any:
        """The parallel loop over the blocks of a stage, whose events begin with ``first``."""
        stage = self.row_blocks.stages[number]
        longest = max(map(len, stage))
        self.block, event, self.row = loop_var("block"), loop_var("event"), loop_var("row")
        scratch = len(self.buffers.allocated)
        bodies = [self._executed(*action) for action in _actions(stage)]
        place = index(first) + self.block * index(longest) + event
        body = loop_nest([(event, longest)], self._dispatched(table, place, bodies))
        own = self._own_buffers(number, self.buffers.allocated[scratch:])
        self.own += own
        body = sequence([*(tirx.AllocBuffer(buffer) for buffer in own), body])
        return tirx.For(self.block, index(0), index(len(stage)), ForKind.PARALLEL, body)

    def _own_buffers(self, number: int, new: list[Any]) -> list[Any]:
        """Of a stage the rings of what it makes for itself, and the scratch of its operators, which is ``new``."""
        shared = {self.buffers.of(i).buffer for i in self.row_blocks.shared}
        shared |= {parts for parts, *_ in self.parts.values()}
        rings = [self.buffers.of(i).buffer for i in self.row_blocks.tensors[number]]
        scratch = [buffer for buffer in new if buffer.scope() == ACCUMULATOR_SCOPE]
        return [buffer for buffer in dict.fromkeys([*rings, *scratch]) if buffer not in shared]

    def _allocated_first(self) -> list[Any]:
        own = set(self.own)
        return [buffer for buffer in self.buffers.allocated if buffer not in own]

    def _cost(self) -> GroupCost:
        sizes = Sizes(self.graph, OWN_WIDTHS)
        return self.row_blocks.cost(super()._cost(), sizes)

    def _threads(self) -> int:
        return self.row_blocks.count

    def _executed(self, kind: str, tensor: int, reader: int) -> Any:
        if kind == "make":
            made = self._made(tensor)
            stored = tensor in self.results and tensor not in self.row_blocks.stored_apart
            return sequence([made, self._stored(tensor)]) if stored else made
        if kind == "store":
            return self._stored(tensor)
        if kind == "idle":
            return tirx.Evaluate(index(0))
        if kind == "combine":
            rows = self.rows[reader]
            start, add = rows.combine(self.row, self._image, self._loader(reader), self.buffers.scratch)
            return sequence([tirx.IfThenElse(self.row == index(0), start, None), add])
        if kind == "start":
            self.parts[tensor, reader] = self._summed(reader)
            return self.parts[tensor, reader][1]
        return self.parts[tensor, reader][2]

    def _summed(self, reader: int) -> tuple[Any, Any, Any]:
        """The buffer for the sums of all blocks, and what starts one of them and adds to it."""
        found: list[Any] = []

        def of_all(name: str, shape: tuple[int, ...], dtype: str) -> Any:
            found.append(self.buffers.scratch(f"{name}_parts", (self.row_blocks.count, *shape), dtype))
            return found[0]

        start, add = self.rows[reader].add(self.row, self._image, self._loader(reader), of_all, (self.block,))
        return found[0], start, add


def _action(event: BlockEvent) -> Action:
    return event.kind, event.tensor, event.reader


def _actions(stage: tuple[tuple[BlockEvent, ...], ...]) -> list[Action]:
    """What a stage does, in the order of its first doing; "idle" only if some block has fewer events."""
    found = dict.fromkeys(_action(event) for events in stage for event in events)
    return [*found, *([IDLE] if len({len(events) for events in stage}) > 1 else [])]
