"""RowFunction: the PrimFunc of a group that makes its rows one after another, in the order of its row program."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from tvm import tirx

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.row_program import row_program
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.passes.lowering.expressions import INDEX, index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE, Move, OnChipWriter
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import OperatorRows
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.relax_tools import Array


class RowFunction(OnChipWriter):
    """Line buffers and weights are in buffers of ``scope``; rows are made when a consumer first needs them."""

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        cost: GroupCost | None = None,
    ) -> None:
        cost = cost or LineBufferModel(group.graph, OWN_WIDTHS).cost(group.everything)
        super().__init__(group, functions, result_shapes, options, cost)

    def _program(self) -> Array:
        """What happens, an event a row of the array."""
        code = {i: k for k, i in enumerate(self._tensors())}
        events = row_program(self.graph, self.group.everything)
        return np.array([(code[i], row) for i, row in events], PROGRAM_DTYPE).reshape(len(events), 2)

    def _tensors(self) -> list[int]:
        """Outside tensors and those of the operators, in the order of their numbers in the program."""
        return [*sorted((i for i in self.outside), reverse=True), *range(len(self.graph))]

    def _body(self, table: Any) -> Any:
        """The statement that executes the program in ``table`` for one image."""
        event = loop_var("event")
        body = self._dispatched(table, event, [self._event(i) for i in self._tensors()])
        return loop_nest([(event, int(table.shape[0]))], body)

    def _dispatched(self, table: Any, event: Any, bodies: list[Any]) -> Any:
        """What the program says at ``event``, one of ``bodies``, with its row."""
        row = tirx.Cast(INDEX, table[event, index(1)])
        return sequence([tirx.Bind(self.row, row), _dispatch(table[event, index(0)], bodies)])

    def _rows(self, i: int) -> OperatorRows:
        operator, function = self.graph.operators[i], self.functions[i]
        adds = [o for o, demand in zip(operator.inputs, operator.demands, strict=True) if demand.kind == "accumulate"]
        if not adds:
            return super()._rows(i)
        if len(adds) > 1:
            raise NotLowered(operator.name, "it adds up the rows of two operands")
        tensor = self.graph.tensor(adds[0])
        place = next(k for k, o in enumerate(function.operands) if self.group.operand_of.get(o) == adds[0])
        added = function.function.params[place]
        return OperatorRows(operator, self.blocks[i], self.vectors, added, tensor.row_axis, tensor.height)

    def _event(self, i: int) -> Any:
        """What happens when a row of tensor ``i`` is made (or loaded)."""
        stored = [self._stored(i)] if i in self.results else []
        return sequence([self._made(i), *stored, *self._added_up(i, self.graph.consumers[i])])

    def _added_up(self, i: int, readers: Iterable[int]) -> list[Any]:
        """What adds a row of tensor ``i`` to the sums of those of its readers that accumulate it."""
        statements = []
        for c in readers:
            demand = dict(zip(self.graph.operators[c].inputs, self.graph.operators[c].demands, strict=True))[i]
            if demand.kind == "accumulate":
                start, add = self.rows[c].add(self.row, self._image, self._loader(c), self.buffers.scratch)
                statements += [tirx.IfThenElse(self.row == index(0), start, None), add]
        return statements

    def _made(self, i: int) -> Any:
        return self._moved(i, self.outside[i], Move.LOAD) if i < 0 else self._make_row(i)

    def _stored(self, i: int) -> Any:
        return self._moved(i, self.results[i], Move.STORE)

    def _make_row(self, i: int) -> Any:
        load, store = self._loader(i), self._store(i)
        if i in self.kernels:
            return self.kernels[i].make(self.row, self._image, load, store)
        return self.rows[i].make(self.row, self._image, load, store, self.buffers.scratch)


def _dispatch(which: Any, bodies: list[Any], first: int = 0) -> Any:
    """The body whose number is ``which``, found by halving."""
    if len(bodies) == 1:
        return bodies[0]
    half = len(bodies) // 2
    return tirx.IfThenElse(
        which < tirx.IntImm(PROGRAM_DTYPE, first + half),
        _dispatch(which, bodies[:half], first),
        _dispatch(which, bodies[half:], first + half),
    )
