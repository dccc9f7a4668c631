"""row_function: the PrimFunc of a group that makes its rows one after another, in the order of its row program."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import BufferStore, SeqStmt

from tvm_fusion.cost_models.row_program import row_program
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.fuse_groups import operands_of
from tvm_fusion.passes.lowering.blocks import blocks_of
from tvm_fusion.passes.lowering.expressions import INDEX, index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import OperatorRows
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE, RowBuffers, flat, loop_nest, loop_var
from tvm_fusion.passes.relax_tools import Array, shape_of

PROGRAM_DTYPE = "int32"
# TVM packs the buffers of a scope without gaps, and fails where that leaves wide elements misaligned.
_WIDEST_BESIDE_OTHERS = 32


@dataclass(frozen=True)
class RowFunction:
    """``function`` takes the parameters of the group function, then ``program`` (events, 2), then the results.

    An event is (which tensor, which row): outside tensors come first, in the order of the group's graph. ``cost`` is
    that of the group at the element widths of the IR.
    """

    function: Any
    program: Array
    cost: GroupCost


def row_function(
    group: Group,
    functions: Mapping[int, OperatorFunction],
    result_shapes: list[tuple[int, ...]],
    scope: str = DEFAULT_SCOPE,
) -> RowFunction:
    """Lower a group whose operators have these functions. Raises NotLowered if one does not go row by row."""
    return _Writer(group, functions, result_shapes, scope).written()


class _Writer:
    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        scope: str,
    ) -> None:
        self.group = group
        self.graph = group.graph
        self.functions = functions
        self.scope = scope
        self.buffers = RowBuffers(group, scope)
        self.batch = self.graph.operators[0].batch
        self.image, self.row = loop_var("image"), loop_var("row")
        self.parameters = [_parameter(f"p{k}", shape_of(p), str(p.ty.dtype)) for k, p in enumerate(group.parameters)]
        self.outside = {i: self.parameters[k] for k, i in enumerate(group.operands) if i is not None}
        operands = [operand for bound in group.bindings for _, value in bound for operand in operands_of(value)]
        shared = next((w for w in group.weights if operands.count(w) > 1), None)
        if shared is not None:  # the cost model counts the weights of every operator, and DRAM holds this one once
            raise NotLowered("", f"several operands are one weight of shape {shape_of(shared)}")
        if len(set(group.results)) != len(group.results):
            raise NotLowered("", "one tensor is returned twice")
        self.results = {
            i: _parameter(f"result_{k}", shape, self.graph.operators[i].dtype)
            for k, (i, shape) in enumerate(zip(group.results, result_shapes, strict=True))
        }
        self.start: list[Any] = []
        self.rows = {i: self._rows(i) for i in range(len(self.graph))}

    def written(self) -> RowFunction:
        """The function and its program."""
        events = row_program(self.graph, self.group.everything)
        tensors = [*sorted((i for i in self.outside), reverse=True), *range(len(self.graph))]
        code = {i: k for k, i in enumerate(tensors)}
        program = np.array([(code[i], row) for i, row in events], PROGRAM_DTYPE).reshape(len(events), 2)
        table = _parameter("program", program.shape, PROGRAM_DTYPE)
        event = loop_var("event")
        which = table[event, index(0)]
        body = _dispatch(which, [self._event(i) for i in tensors])
        row = tirx.Cast(INDEX, table[event, index(1)])
        body = SeqStmt([tirx.Bind(self.row, row), body])
        body = loop_nest([(event, len(events))], body)
        if self.batch > 1:
            body = loop_nest([(self.image, self.batch)], body)
        bits = {dtype_bits(str(buffer.dtype)) for buffer in self.buffers.allocated}
        if len(bits) > 1 and max(bits) > _WIDEST_BESIDE_OTHERS:
            raise NotLowered("", f"it holds {max(bits)}-bit elements beside narrower ones, which TVM does not align")
        allocated = [tirx.AllocBuffer(buffer) for buffer in self.buffers.allocated]
        params = [*self.parameters, table, *self.results.values()]
        function = tirx.PrimFunc(params, SeqStmt([*allocated, *self.start, body]))
        return RowFunction(function.with_attr({"tirx.noalias": True}), program, self.buffers.cost)

    @property
    def _image(self) -> Any:
        return self.image if self.batch > 1 else index(0)

    def _rows(self, i: int) -> OperatorRows:
        operator, function = self.graph.operators[i], self.functions[i]
        try:
            blocks = blocks_of(function.function)
        except ValueError as error:
            raise NotLowered(operator.name, f"{error} ({operator.type})") from None
        adds = [o for o, demand in zip(operator.inputs, operator.demands, strict=True) if demand.kind == "accumulate"]
        if not adds:
            return OperatorRows(operator, blocks)
        if len(adds) > 1:
            raise NotLowered(operator.name, "it adds up the rows of two operands")
        tensor = self.graph.tensor(adds[0])
        place = next(k for k, o in enumerate(function.operands) if self.group.operand_of.get(o) == adds[0])
        return OperatorRows(operator, blocks, function.function.params[place], tensor.row_axis, tensor.height)

    def _event(self, i: int) -> Any:
        """What happens when a row of tensor ``i`` is made (or loaded)."""
        statements = [self._load_row(i) if i < 0 else self._make_row(i)]
        if i in self.results:
            statements.append(self._store_row(i))
        for c in self.graph.consumers[i]:
            demand = dict(zip(self.graph.operators[c].inputs, self.graph.operators[c].demands, strict=True))[i]
            if demand.kind == "accumulate":
                start, add = self.rows[c].add(self.row, self._image, self._loader(c), self.buffers.scratch)
                statements += [tirx.IfThenElse(self.row == index(0), start, None), add]
        return statements[0] if len(statements) == 1 else SeqStmt(statements)

    def _make_row(self, i: int) -> Any:
        operator = self.graph.operators[i]
        buffer = self.buffers.of(i)

        def store(indices: list[Any], value: Any) -> Any:
            return BufferStore(buffer.buffer, value, list(buffer.at(operator.shape, indices, self._image)))

        return self.rows[i].make(self.row, self._image, self._loader(i), store, self.buffers.scratch)

    def _loader(self, i: int) -> Any:
        """Loads of operator ``i``'s function from where its operands are on chip."""
        function = self.functions[i]
        places = dict(zip(function.function.params, function.operands, strict=False))
        weights = {
            param: self._weight(i, k, operand)
            for k, (param, operand) in enumerate(places.items())
            if operand in self.group.weights
        }

        def load(buffer: Any, indices: list[Any]) -> Any:
            if buffer in weights:
                shape = [int(size) for size in buffer.shape]
                kept = weights[buffer]
                return kept[tuple(indices)] if math.prod(shape) == 1 else kept[flat(shape, indices)]
            operand = places[buffer]
            rows = self.buffers.of(self.group.operand_of[operand])
            return rows.buffer[rows.at(shape_of(operand), indices, self._image)]

        return load

    def _weight(self, i: int, k: int, constant: Any) -> Any:
        """The on-chip copy of a weight for operator ``i``; a single number is read where it is."""
        parameter = self.parameters[self.group.weights[constant]]
        shape = [int(size) for size in parameter.shape]
        elements = math.prod(shape)
        if elements == 1:
            return parameter
        copy = self.buffers.on_chip(f"weight_{i}_{k}", elements, str(parameter.dtype), self.scope)
        loops = [(loop_var(f"w{axis}"), size) for axis, size in enumerate(shape)]
        places = [var for var, _ in loops]
        self.start.append(loop_nest(loops, BufferStore(copy, parameter[tuple(places)], [flat(shape, places)])))
        return copy

    def _load_row(self, i: int) -> Any:
        return self._moved(i, self.outside[i], into_dram=False)

    def _store_row(self, i: int) -> Any:
        return self._moved(i, self.results[i], into_dram=True)

    def _moved(self, i: int, dram: Any, into_dram: bool) -> Any:
        """One row between DRAM, where the tensor may have the shape of a view, and its ring."""
        tensor = self.graph.tensor(i)
        shape = tuple(int(size) for size in dram.shape)
        values = {0: self._image} if tensor.batch > 1 else {}
        if shape == tensor.shape and tensor.row_axis is not None:
            values[tensor.row_axis] = self.row
        loops = {axis: loop_var(f"i{axis}") for axis in range(len(shape)) if axis not in values}
        places = [values.get(axis, loops.get(axis)) for axis in range(len(shape))]
        rows = self.buffers.of(i)
        at = rows.at(shape, places, self._image)
        if into_dram:
            body = BufferStore(dram, rows.buffer[at], places)
        else:
            body = BufferStore(rows.buffer, dram[tuple(places)], list(at))
        return loop_nest([(var, shape[axis]) for axis, var in loops.items()], body)


def _parameter(name: str, shape: tuple[int, ...], dtype: str) -> Any:
    return tirx.decl_buffer([index(size) for size in shape], dtype, name=name)


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
