"""RowFunction: the PrimFunc of a group that makes its rows one after another, in the order of its row program."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import BufferStore

from tvm_fusion.cost_models.row_program import row_program
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.lowering.dram import DramTensor, parameter
from tvm_fusion.passes.lowering.expressions import INDEX, index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import GroupWriter, LoweredGroup, element_count
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import OperatorRows
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import RowBuffers, flat
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.vector_nest import Loops, vector_nest, vectorized
from tvm_fusion.passes.relax_tools import Array

PROGRAM_DTYPE = "int32"
# TVM packs the buffers of a scope without gaps, and fails where that leaves wide elements misaligned.
_WIDEST_BESIDE_OTHERS = 32


class RowFunction(GroupWriter):
    """Line buffers and weights are in buffers of ``scope``; rows are made when a consumer first needs them."""

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
    ) -> None:
        super().__init__(group, functions, result_shapes, options)
        self.buffers = RowBuffers(group, options.scope)
        self.start: list[Any] = []

    def written(self, by_rows: Collection[int] = ()) -> LoweredGroup:
        """The function and its program."""
        self._declare(by_rows)
        self.buffers, self.start = RowBuffers(self.group, self.options.scope), []
        program = self._program()
        table = parameter("program", program.shape, PROGRAM_DTYPE)
        body = loop_nest([(self._image, self.batch)], self._body(table))
        bits = {dtype_bits(str(buffer.dtype)) for buffer in self.buffers.allocated}
        if len(bits) > 1 and max(bits) > _WIDEST_BESIDE_OTHERS:
            raise NotLowered("", f"it holds {max(bits)}-bit elements beside narrower ones, which TVM does not align")
        allocated = [tirx.AllocBuffer(buffer) for buffer in self._allocated_first()]
        params = [*self.parameters, table, *(result.buffer for result in self.results.values())]
        function = tirx.PrimFunc(params, sequence([*allocated, *self.start, body]))
        function = function.with_attr({"tirx.noalias": True})
        return LoweredGroup(function, self.packed, program, self._cost(), self._threads())

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

    def _allocated_first(self) -> list[Any]:
        """Buffers that live as long as the function."""
        return self.buffers.allocated

    def _cost(self) -> GroupCost:
        return self.buffers.cost

    def _threads(self) -> int:
        return 1

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
        statements = [self._made(i)]
        if i in self.results:
            statements.append(self._stored(i))
        for c in self.graph.consumers[i]:
            demand = dict(zip(self.graph.operators[c].inputs, self.graph.operators[c].demands, strict=True))[i]
            if demand.kind == "accumulate":
                start, add = self.rows[c].add(self.row, self._image, self._loader(c), self.buffers.scratch)
                statements += [tirx.IfThenElse(self.row == index(0), start, None), add]
        return sequence(statements)

    def _made(self, i: int) -> Any:
        return self._moved(i, self.outside[i], into_dram=False) if i < 0 else self._make_row(i)

    def _stored(self, i: int) -> Any:
        return self._moved(i, self.results[i], into_dram=True)

    def _make_row(self, i: int) -> Any:
        load, store = self._loader(i), self._store(i)
        if i in self.kernels:
            return self.kernels[i].make(self.row, self._image, load, store)
        return self.rows[i].make(self.row, self._image, load, store, self.buffers.scratch)

    def _load_operand(self, operand: int, shape: tuple[int, ...], indices: list[Any]) -> Any:
        rows = self.buffers.of(operand)
        return rows.buffer[rows.at(shape, indices, self._image)]

    def _store_result(self, i: int, indices: list[Any], value: Any) -> Any:
        rows = self.buffers.of(i)
        return BufferStore(rows.buffer, value, list(rows.at(self.graph.operators[i].shape, indices, self._image)))

    def _weight(self, i: int, k: int, constant: Any) -> Any:
        """The on-chip copy of a weight for operator ``i``; a single number is read where it is."""
        dram = self.parameters[self.group.weights[constant]]
        elements = element_count(dram)
        if elements == 1:
            return dram
        copy = self.buffers.on_chip(f"weight_{i}_{k}", elements, str(dram.dtype), self.options.scope)
        shape = [int(size) for size in dram.shape]
        loops = [(loop_var(f"w{axis}"), size) for axis, size in enumerate(shape)]

        def copied(values: dict[Any, Any]) -> Any:
            places = [values.get(var, var) for var, _ in loops]
            return BufferStore(copy, dram[tuple(places)], [flat(shape, places)])

        self.start.append(self._copies(loops, str(dram.dtype), copied))
        return copy

    def _moved(self, i: int, dram: DramTensor, into_dram: bool) -> Any:
        """One row between DRAM and its ring."""
        rows, tensor = self.buffers.of(i), dram.tensor
        shape = tuple(int(size) for size in dram.buffer.shape)
        fixed = {0: self._image} if tensor.batch > 1 else {}
        if dram.by_rows:
            fixed = {0: self._image, 1: self.row if tensor.height > 1 else index(0)}
        elif shape == tensor.shape and tensor.row_axis is not None:
            fixed[tensor.row_axis] = self.row
        loops = {axis: loop_var(f"i{axis}") for axis in range(len(shape)) if axis not in fixed}

        def copied(inside: dict[Any, Any]) -> Any:
            places = [inside.get(place, place) for place in (fixed.get(a, loops.get(a)) for a in range(len(shape)))]
            at = rows.at_row(*places[1:]) if dram.by_rows else rows.at(shape, places, self._image)
            if into_dram:
                return BufferStore(dram.buffer, rows.buffer[at], places)
            return BufferStore(rows.buffer, dram.buffer[tuple(places)], list(at))

        return self._copies([(var, shape[axis]) for axis, var in loops.items()], tensor.dtype, copied)

    def _copies(self, loops: Loops, dtype: str, copied: Callable[[dict[Any, Any]], Any]) -> Any:
        def build(values: dict[Any, Any], lane: Any, count: int) -> Any:
            return vectorized(lane, count, copied(values))

        return vector_nest(loops, self.vectors.lanes(dtype_bits(dtype)), build)


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
