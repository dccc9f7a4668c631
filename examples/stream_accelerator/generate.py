"""generate: the instruction stream of one group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from examples.stream_accelerator.instructions import (
    Address,
    AddToSums,
    ConvRow,
    DenseRow,
    EltwiseRow,
    Instruction,
    LoadRow,
    LoadWeight,
    PoolRow,
    ScaleSums,
    StoreRow,
)
from examples.stream_accelerator.program import StreamProgram
from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes import BackendGroup
from tvm_fusion.passes.relax_tools import constant_array, is_constant, op_name, shape_of

ONE_OPERAND = {"nn.relu": "relu", "sigmoid": "sigmoid", "tanh": "tanh", "clip": "clip"}
TWO_OPERANDS = {"add": "add", "subtract": "subtract", "multiply": "multiply"}
CONVOLUTION = (("nn.conv2d",), ("nn.conv2d", "add"))
DENSE = (("matmul",), ("matmul", "add"))
ELEMENT_BYTES = 4


class Refused(Exception):  # noqa: N818 (it is no fault)
    """Why the accelerator does not execute a group."""


def generate(group: BackendGroup) -> StreamProgram:
    """The program of ``group``. Raises Refused naming the operator that the accelerator lacks."""
    return _Generator(group).program()


class _Generator:
    def __init__(self, group: BackendGroup) -> None:
        self.group = group
        self.graph = group.graph
        if group.batch > 1:
            raise Refused(f"it runs {group.batch} images at once; the accelerator runs one")
        for tensor in (*self.graph.inputs, *self.graph.operators):
            if tensor.dtype != "float32":
                raise Refused(f"tensor {tensor.name!r} is {tensor.dtype}; the accelerator has float32 alone")
        self.weights = {(w.operator, w.number): Address("buffer", w.address) for w in group.weights}
        self.accumulator_bytes = group.accumulator_bytes
        self.sums: dict[int, Address] = {}
        for operator in self.graph.operators:
            if self._names(operator) == ("mean",):
                self.sums[operator.id] = Address("accumulator", self.accumulator_bytes)
                self.accumulator_bytes += operator.row_elements * ELEMENT_BYTES

    def program(self) -> StreamProgram:
        instructions: list[Instruction] = [
            LoadWeight(Address("buffer", w.address), k, w.size_bytes) for k, w in enumerate(self.group.weights)
        ]
        for operand, row in self.group.program:
            instructions += self._event(operand, row)
        graph = self.graph
        return StreamProgram(
            symbol=self.group.symbol,
            instructions=tuple(instructions),
            weights=tuple(np.ascontiguousarray(self.group.weight_array(w)) for w in self.group.weights),
            inputs=tuple((tensor.height, tensor.row_axis) for tensor in graph.inputs),
            results=tuple((graph.operators[i].height, graph.operators[i].row_axis) for i in self.group.results),
            buffer_bytes=self.group.buffer_bytes,
            accumulator_bytes=self.accumulator_bytes,
        )

    def _event(self, operand: int, row: int) -> Iterator[Instruction]:
        """A row is loaded or made, stored if it is one of a result, and added up where an operator does so."""
        place = self._at(operand, row)
        size = self.group.rows[operand].row_bytes
        if operand < 0:
            yield LoadRow(place, -operand - 1, row, size)
        else:
            yield self._made(self.graph.operators[operand], row)
        for number, result in enumerate(self.group.results):
            if result == operand:
                yield StoreRow(place, number, row, size)
        tensor = self.graph.tensor(operand)
        for reader in self.graph.consumers[operand]:
            if reader in self.sums:
                channels = self.graph.operators[reader].row_elements
                width = tensor.row_elements // channels
                yield AddToSums(self.sums[reader], place, channels, width, start=row == 0)

    def _made(self, operator: Operator, row: int) -> Instruction:
        names = self._names(operator)
        if names in CONVOLUTION:
            return self._convolution(operator, row)
        if names == ("nn.max_pool2d",):
            return self._pool(operator, row)
        if names == ("mean",):
            return self._mean(operator)
        if names in DENSE:
            return self._dense(operator)
        if len(names) == 1 and names[0] in (*ONE_OPERAND, *TWO_OPERANDS):
            return self._elementwise(operator, row)
        raise self._refusal(operator, f"the accelerator has no {operator.type} ({', '.join(names)})")

    def _convolution(self, operator: Operator, row: int) -> Instruction:
        call = self._call(operator)
        source, kernel = self._source(operator), shape_of(call.args[1])
        layouts = [str(call.attrs[key]) for key in ("data_layout", "kernel_layout", "out_layout")]
        if layouts != ["NCHW", "OIHW", "NCHW"] or not is_constant(call.args[1]):
            raise self._refusal(operator, f"its layout is {' '.join(layouts)} or its kernel is computed")
        window = self._window(operator)
        bound = self.group.bindings[operator.id]
        return ConvRow(
            to=self._at(operator.id, row),
            sources=self._window_rows(operator, row),
            weight=self.weights[operator.id, 0],
            bias=self._bias(operator, kernel[0]) if len(bound) > 1 else None,
            channels=(source.shape[1], operator.shape[1]),
            width=(source.shape[3], operator.shape[3]),
            kernel_width=window.kernel[1],
            stride=window.stride[1],
            padding=window.padding[1],
            dilation=window.dilation[1],
            groups=int(call.attrs["groups"]),
        )

    def _pool(self, operator: Operator, row: int) -> Instruction:
        window, source = self._window(operator), self._source(operator)
        if str(self._call(operator).attrs["layout"]) != "NCHW":
            raise self._refusal(operator, "its layout is not NCHW")
        return PoolRow(
            to=self._at(operator.id, row),
            sources=self._window_rows(operator, row),
            channels=operator.shape[1],
            width=(source.shape[3], operator.shape[3]),
            kernel_width=window.kernel[1],
            stride=window.stride[1],
            padding=window.padding[1],
            dilation=window.dilation[1],
        )

    def _mean(self, operator: Operator) -> Instruction:
        source = self._source(operator)
        axes = sorted(int(axis) % 4 for axis in self._call(operator).attrs["axis"] or ())
        if axes != [2, 3] or len(source.shape) != 4:
            raise self._refusal(operator, "it is no mean of the rows and columns of NCHW")
        scale = 1.0 / (source.shape[2] * source.shape[3])
        return ScaleSums(self._at(operator.id, 0), self.sums[operator.id], operator.row_elements, scale)

    def _dense(self, operator: Operator) -> Instruction:
        call = self._call(operator)
        inputs, outputs = shape_of(call.args[1]) if len(shape_of(call.args[1])) == 2 else (0, 0)
        source = self._source(operator)
        if not is_constant(call.args[1]) or source.elements != inputs or source.height != 1 or operator.height != 1:
            raise self._refusal(operator, "it is no product of one row and a constant matrix")
        bias = self._bias(operator, outputs) if len(self.group.bindings[operator.id]) > 1 else None
        to, at = self._at(operator.id, 0), self._at(operator.inputs[0], 0)
        return DenseRow(to, at, self.weights[operator.id, 0], bias, (inputs, outputs))

    def _elementwise(self, operator: Operator, row: int) -> Instruction:
        call, name = self._call(operator), self._names(operator)[0]
        bounds = None
        read = [arg for arg in call.args if arg in self.group.operand_of]
        if name == "clip":
            low, high = (float(arg.value) for arg in call.args[1:3])
            bounds = (low, high)
        if name in TWO_OPERANDS and len(read) != 2:
            raise self._refusal(operator, "one of its operands is a constant")
        for arg in read:
            if shape_of(arg) != operator.shape:
                raise self._refusal(operator, f"its operand of shape {shape_of(arg)} is broadcast")
        function = (ONE_OPERAND | TWO_OPERANDS)[name]
        sources = tuple(self._at(self.group.operand_of[arg], row) for arg in read)
        return EltwiseRow(self._at(operator.id, row), function, sources, operator.row_elements, bounds)

    def _window_rows(self, operator: Operator, row: int) -> tuple[Address | None, ...]:
        """Where the operand's row for each row of the kernel lies; None beyond the border."""
        window, source = self._window(operator), self._source(operator)
        top = row * window.stride[0] - window.padding[0]
        wanted = [top + k * window.dilation[0] for k in range(window.kernel[0])]
        return tuple(self._at(operator.inputs[0], r) if 0 <= r < source.height else None for r in wanted)

    def _bias(self, operator: Operator, channels: int) -> Address:
        (constant,) = (arg for arg in self.group.bindings[operator.id][1][1].args if is_constant(arg))
        if constant_array(constant).size != channels or max(shape_of(constant)) != channels:
            raise self._refusal(operator, f"it adds a constant of shape {shape_of(constant)}")
        return self.weights[operator.id, 1]

    def _at(self, operand: int, row: int) -> Address:
        place = self.group.rows[operand]
        return Address(place.memory, place.at(row))

    def _source(self, operator: Operator) -> Any:
        return self.graph.tensor(operator.inputs[0])

    def _call(self, operator: Operator) -> Any:
        return self.group.bindings[operator.id][0][1]

    def _names(self, operator: Operator) -> tuple[str, ...]:
        return tuple(op_name(value) for _, value in self.group.bindings[operator.id])

    def _window(self, operator: Operator) -> Any:
        if operator.window is None or len(operator.shape) != 4 or operator.row_axis != 2:
            raise self._refusal(operator, "it does not slide over the rows of NCHW")
        return operator.window

    def _refusal(self, operator: Operator, reason: str) -> Refused:
        return Refused(f"operator {operator.name!r}: {reason}")
