"""OnChipWriter: a GroupWriter whose tensors and weights are on chip, and the copies between there and DRAM."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Collection, Mapping
from enum import Enum, auto
from typing import Any

from tvm import tirx
from tvm.tirx import BufferStore

from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.lowering.dram import DramTensor, parameter
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import GroupWriter, LoweredGroup, element_count
from tvm_fusion.passes.lowering.loops import loop_nest, loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import RowBuffers, flat
from tvm_fusion.passes.lowering.statements import sequence
from tvm_fusion.passes.lowering.vector_nest import Loops, vector_nest, vectorized
from tvm_fusion.passes.relax_tools import Array

PROGRAM_DTYPE = "int32"
# TVM packs the buffers of a scope without gaps, and fails where that leaves wide elements misaligned.
_WIDEST_BESIDE_OTHERS = 32


class Move(Enum):
    """What becomes of a row: it is loaded from DRAM, stored there, or read and not held."""

    LOAD = auto()
    STORE = auto()
    PASS = auto()


class OnChipWriter(GroupWriter):
    """Rows and weights are in buffers of ``scope``. ``cost``: that of the group at the element widths of the IR, by
    which every tensor has its lines; what happens when is in a table of numbers, the *program*."""

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        cost: GroupCost,
    ) -> None:
        super().__init__(group, functions, result_shapes, options)
        self.cost = cost
        self.buffers = self._row_buffers()
        self.start: list[Any] = []

    def written(self, by_rows: Collection[int] = ()) -> LoweredGroup:
        """The function and its program."""
        self._declare(by_rows)
        self.buffers, self.start = self._row_buffers(), []
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

    @abstractmethod
    def _program(self) -> Array:
        """The table: of two axes, numbers of PROGRAM_DTYPE."""

    @abstractmethod
    def _body(self, table: Any) -> Any:
        """The statement that executes the program in ``table`` for one image."""

    def _lines(self) -> dict[int, int]:
        """Rows that every tensor has on chip."""
        return {buffer.tensor: buffer.lines for buffer in self.cost.buffers}

    def _row_buffers(self) -> RowBuffers:
        return RowBuffers(self.group, self._lines(), self.options.scope)

    def _allocated_first(self) -> list[Any]:
        """Buffers that live as long as the function."""
        return self.buffers.allocated

    def _cost(self) -> GroupCost:
        return self.cost

    def _threads(self) -> int:
        return 1

    def _load_operand(self, operand: int, shape: tuple[int, ...], indices: list[Any]) -> Any:
        rows = self.buffers.of(operand)
        return rows.buffer[rows.at(shape, indices, self._image)]

    def _store_result(self, i: int, indices: list[Any], value: Any) -> Any:
        rows = self.buffers.of(i)
        return BufferStore(rows.buffer, value, list(rows.at(self.graph.operators[i].shape, indices, self._image)))

    def _weight(self, i: int, k: int, constant: Any) -> Any:
        """The on-chip copy of a weight for operator ``i``; a single number is read where it is."""
        dram = self._dram_weight(constant)
        elements = element_count(dram)
        if elements == 1:
            return dram
        copy = self.buffers.on_chip(f"weight_{i}_{k}", elements, str(dram.dtype), self.options.scope)
        self.start.append(self._whole_weight(dram, copy))
        return copy

    def _whole_weight(self, dram: Any, copy: Any) -> Any:
        """The statement that loads a weight."""
        shape = [int(size) for size in dram.shape]
        loops = [(loop_var(f"w{axis}"), size) for axis, size in enumerate(shape)]

        def copied(values: dict[Any, Any]) -> Any:
            places = [values.get(var, var) for var, _ in loops]
            return BufferStore(copy, dram[tuple(places)], [flat(shape, places)])

        return self._copies(loops, str(dram.dtype), copied)

    def _moved(self, i: int, dram: DramTensor, move: Move) -> Any:
        """One row between DRAM and its place on chip."""
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
            if move is Move.PASS:
                return tirx.Evaluate(dram.buffer[tuple(places)])
            at = rows.at_row(*places[1:]) if dram.by_rows else rows.at(shape, places, self._image)
            if move is Move.STORE:
                return BufferStore(dram.buffer, rows.buffer[at], places)
            return BufferStore(rows.buffer, dram.buffer[tuple(places)], list(at))

        every = [(var, shape[axis]) for axis, var in loops.items()]
        return loop_nest(every, copied({})) if move is Move.PASS else self._copies(every, tensor.dtype, copied)

    def _copies(self, loops: Loops, dtype: str, copied: Callable[[dict[Any, Any]], Any]) -> Any:
        def build(values: dict[Any, Any], lane: Any, count: int) -> Any:
            return vectorized(lane, count, copied(values))

        return vector_nest(loops, self.vectors.lanes(dtype_bits(dtype)), build)
