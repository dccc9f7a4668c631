"""GroupWriter: what PrimFuncs of a group have in common, whatever the order of their rows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.passes.fuse_groups import operands_of
from tvm_fusion.passes.lowering.blocks import Block, blocks_of
from tvm_fusion.passes.lowering.dram import DramTensor, parameter, rows_shape
from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.fast_math import fast_math
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.kernels.find import kernel_of
from tvm_fusion.passes.lowering.kernels.window_kernel import WindowKernel
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.not_lowered import NotLowered
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.operator_rows import Load, OperatorRows, Store
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_buffers import flat
from tvm_fusion.passes.relax_tools import Array, constant_array, shape_of


@dataclass(frozen=True)
class LoweredGroup:
    """``function`` takes the parameters of the group function, ``program`` if there is one, then the results.

    An event of the program is (which tensor, which row): outside tensors come first, in the order of the group's graph.
    ``cost`` is that of the group at the element widths of the IR, where the TIR must keep to it. ``packed`` has, by the
    number of the parameter, the weights whose elements the function expects in another order, as one axis. ``threads``
    make rows at a time: then the program has its stages one after another, each with the same number of events for
    every block, and events have the numbers of what the stage does (see BlockFunction).
    """

    function: Any
    packed: dict[int, Array]
    program: Array | None = None
    cost: GroupCost | None = None
    threads: int = 1


class GroupWriter(ABC):
    """Reads how the operators of a group are computed; :meth:`written` makes the PrimFunc.

    Raises NotLowered if an operator does not go row by row.
    """

    def __init__(
        self,
        group: Group,
        functions: Mapping[int, OperatorFunction],
        result_shapes: list[tuple[int, ...]],
        options: LoweringOptions,
    ) -> None:
        self.group = group
        self.graph = group.graph
        self.functions = functions
        self.result_shapes = result_shapes
        self.options = options
        self.vectors = options.vectors
        self.batch = self.graph.operators[0].batch
        self.image, self.row = loop_var("image"), loop_var("row")
        self._check()
        self.blocks = {i: self._blocks(i) for i in range(len(self.graph))}
        self.kernels: dict[int, WindowKernel] = {}
        self.rows = {i: self._rows(i) for i in range(len(self.graph))}
        self.packed = dict(self._packed(i, kernel) for i, kernel in self.kernels.items())
        self.parameters: list[Any] = []
        self.outside: dict[int, DramTensor] = {}
        self.results: dict[int, DramTensor] = {}

    @abstractmethod
    def written(self, by_rows: Collection[int] = ()) -> LoweredGroup:
        """The PrimFunc; tensors ``by_rows`` lie so in DRAM. Raises NotLowered."""

    def _check(self) -> None:
        group = self.group
        operands = [operand for bound in group.bindings for _, value in bound for operand in operands_of(value)]
        shared = next((w for w in group.weights if operands.count(w) > 1), None)
        if shared is not None:  # the cost model counts the weights of every operator, and DRAM holds this one once
            raise NotLowered("", f"several operands are one weight of shape {shape_of(shared)}")
        if len(set(group.results)) != len(group.results):
            raise NotLowered("", "one tensor is returned twice")
        for tensor in (*self.graph.inputs, *self.graph.operators):
            if tensor.batch > 1 and tensor.shape[:1] != (tensor.batch,):
                raise NotLowered(tensor.name, f"its shape {tensor.shape} does not begin with the batch")

    def _blocks(self, i: int) -> list[Block]:
        operator = self.graph.operators[i]
        try:
            found = blocks_of(self.functions[i].function)
        except ValueError as error:
            raise NotLowered(operator.name, f"{error} ({operator.type})") from None
        return [replace(block, value=fast_math(block.value)) for block in found]

    def _rows(self, i: int) -> OperatorRows:
        self._find_kernel(i)
        return OperatorRows(self.graph.operators[i], self.blocks[i], self.vectors)

    def _find_kernel(self, i: int) -> None:
        kernel = kernel_of(self.group.bindings[i], self.blocks[i], self.graph.operators[i], self.vectors)
        if kernel is not None and self._weight_of(i, kernel) in self.group.weights:
            self.kernels[i] = kernel

    def _weight_of(self, i: int, kernel: WindowKernel) -> Any:
        """The operand that a kernel reads packed."""
        return self._operands(i).get(kernel.weight)

    def _operands(self, i: int) -> dict[Any, Any]:
        """By parameter of an operator's function what it stands for in the group."""
        function = self.functions[i]
        return dict(zip(function.function.params, function.operands, strict=False))

    def _packed(self, i: int, kernel: WindowKernel) -> tuple[int, Array]:
        weight = self._weight_of(i, kernel)
        return self.group.weights[weight], kernel.packed(constant_array(weight))

    def _declare(self, by_rows: Collection[int]) -> None:
        """Parameters and results."""
        group = self.group
        self.parameters, self.outside, self.results = [], {}, {}
        for k, (variable, operand) in enumerate(zip(group.parameters, group.operands, strict=True)):
            shape = self.packed[k].shape if k in self.packed else shape_of(variable)
            if operand in by_rows and operand is not None:
                shape = rows_shape(self.graph.tensor(operand))
            self.parameters.append(parameter(f"p{k}", shape, str(variable.ty.dtype)))
            if operand is not None:
                self.outside[operand] = self._dram(operand, self.parameters[-1], by_rows)
        for k, (i, own) in enumerate(zip(group.results, self.result_shapes, strict=True)):
            shape = rows_shape(self.graph.tensor(i)) if i in by_rows else own
            buffer = parameter(f"result_{k}", shape, self.graph.operators[i].dtype)
            self.results[i] = self._dram(i, buffer, by_rows)

    def _dram(self, i: int, buffer: Any, by_rows: Collection[int]) -> DramTensor:
        return DramTensor(buffer, self.graph.tensor(i), i in by_rows)

    @property
    def _image(self) -> Any:
        return self.image if self.batch > 1 else index(0)

    @abstractmethod
    def _load_operand(self, operand: int, shape: tuple[int, ...], indices: list[Any]) -> Any:
        """An element of a tensor (or of a view of it that has ``shape``) inside an operator."""

    @abstractmethod
    def _store_result(self, i: int, indices: list[Any], value: Any) -> Any:
        """The statement that stores an element of operator ``i``'s result."""

    @abstractmethod
    def _weight(self, i: int, k: int, constant: Any) -> Any:
        """The buffer of a weight, operand ``k`` of operator ``i``; flat if it is a copy or packed."""

    def _store(self, i: int) -> Store:
        return lambda indices, value: self._store_result(i, indices, value)

    def _loader(self, i: int) -> Load:
        """Loads of operator ``i``'s function from where its operands are."""
        places = self._operands(i)
        weights = {
            param: self._weight(i, k, operand)
            for k, (param, operand) in enumerate(places.items())
            if operand in self.group.weights
        }

        def load(buffer: Any, indices: list[Any]) -> Any:
            if buffer not in weights:
                operand = places[buffer]
                return self._load_operand(self.group.operand_of[operand], shape_of(operand), indices)
            kept, shape = weights[buffer], [int(size) for size in buffer.shape]
            packed = i in self.kernels and buffer.same_as(self.kernels[i].weight)
            if packed or (len(kept.shape) == len(shape) and list(map(int, kept.shape)) == shape):
                return kept[tuple(indices)]
            return kept[flat(shape, indices)]

        return load


def element_count(buffer: Any) -> int:
    """Elements of a buffer."""
    return math.prod(int(size) for size in buffer.shape)
