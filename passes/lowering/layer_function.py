"""LayerFunction: the PrimFunc of one operator alone, which reads and writes DRAM."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from tvm import tirx
from tvm.tirx import BufferStore

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.passes.lowering.dram import parameter
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.group_writer import GroupWriter, LoweredGroup
from tvm_fusion.passes.lowering.loops import loop_nest
from tvm_fusion.passes.lowering.on_chip_writer import PROGRAM_DTYPE
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE
from tvm_fusion.passes.lowering.shared_loops import shared_by_threads
from tvm_fusion.passes.lowering.statements import sequence, touched


class LayerFunction(GroupWriter):
    """Rows of the group's only operator, for the scheme "layer", in the order of that: of its weights or of its inputs
    ``kept_bytes`` stay at a time, while the others pass. It is a cache that must keep them."""

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
        kept_bytes: int,
    ) -> None:
        self.kept_bytes = kept_bytes
        super().__init__(group, functions, result_shapes, options)

    def written(self, by_rows: Collection[int] = ()) -> LoweredGroup:
        """The function; one that reads less than two operands takes an argument more."""
        self._declare(by_rows)
        self._scratch: list[Any] = []
        body = self._body()
        if self.options.shares(self.graph) and not self._scratch:
            body = shared_by_threads(body, self.options.threads)
        body = loop_nest([(self._image, self.batch)], body)
        allocated = [tirx.AllocBuffer(buffer) for buffer in self._scratch]
        results = [result.buffer for result in self.results.values()]
        program = None
        read = touched(body)
        if sum(buffer in read for buffer in self.parameters) < 2:
            # TVM's RewriteDataflowReshape wants blocks in what reads one tensor alone: this reads another one.
            program = np.zeros(1, PROGRAM_DTYPE)
            results.insert(0, parameter("unused", program.shape, PROGRAM_DTYPE))
            first = [buffer[tuple(index(0) for _ in buffer.shape)] for buffer in (*self.parameters, results[0])]
            allocated += [tirx.Evaluate(element) for element in first]
        params = [*self.parameters, *results]
        function = tirx.PrimFunc(params, sequence([*allocated, body]))
        return LoweredGroup(function.with_attr({"tirx.noalias": True}), self.packed, program)

    def _body(self) -> Any:
        height = self.graph.operators[0].height
        row = self.row if height > 1 else index(0)
        load, store = self._loader(0), self._store(0)
        if 0 in self.kernels:
            operator = self.graph.operators[0]
            sizes = Sizes(self.graph, OWN_WIDTHS)
            inputs = sum(sizes.image_bytes[i] for i in operator.inputs)
            weights = sizes.weight_bytes[0]
            return self.kernels[0].make_all(height, self._image, load, store, inputs, weights, self.kept_bytes)
        made = self.rows[0].make(row, self._image, load, store, self._new_scratch)
        return loop_nest([(row, height)], made)

    def _find_kernel(self, i: int) -> None:
        super()._find_kernel(i)
        if i in self.kernels:
            self.kernels[i] = self.kernels[i].whole(self.graph.operators[i].height) or self.kernels[i]

    def _new_scratch(self, name: str, shape: tuple[int, ...], dtype: str) -> Any:
        buffer = tirx.decl_buffer([index(size) for size in shape], dtype, name=name, scope=ACCUMULATOR_SCOPE)
        self._scratch.append(buffer)
        return buffer

    def _load_operand(self, operand: int, shape: tuple[int, ...], indices: list[Any]) -> Any:
        dram = self.outside[operand]
        return dram.buffer[tuple(dram.at(shape, indices, self._image))]

    def _store_result(self, i: int, indices: list[Any], value: Any) -> Any:
        dram = self.results[i]
        return BufferStore(dram.buffer, value, dram.at(self.graph.operators[i].shape, indices, self._image))

    def _weight(self, _i: int, _k: int, constant: Any) -> Any:
        return self.parameters[self.group.weights[constant]]
