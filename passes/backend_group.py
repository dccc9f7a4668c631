"""BackendGroup: what a backend's code generator receives of a group, read off its function."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_fusion.errors import CompileError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.graph_io import graph_from_json
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    BATCH,
    GROUP_GRAPH,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    LINE_BUFFERS,
    MEMORY_MAP,
    NO_ROWS,
    RESULTS,
    ROW_AXES,
    ROW_PROGRAM,
    WEIGHTS,
)
from tvm_fusion.passes.extract import leaves, read_operators
from tvm_fusion.passes.fuse_groups import operands_of
from tvm_fusion.passes.on_chip_places import RowPlace, WeightPlace
from tvm_fusion.passes.relax_tools import Array, bindings, constant_array, is_constant


@dataclass(frozen=True)
class BackendGroup:
    """One group: parameter k of its function is input k of ``graph`` (operand ``-(k+1)``), result k operator
    ``results[k]``.

    ``bindings[i]``: the (variable, value) pairs of Relax that operator i computes, weights as constants;
    ``operand_of``: the operand of every variable. ``rows`` says where each tensor's rows lie, ``weights`` where the
    weights do, ``program`` which (operand, row) is loaded or made next. Bytes are at the element widths of the IR.
    """

    symbol: str
    graph: OperatorGraph
    batch: int
    results: tuple[int, ...]
    bindings: tuple[tuple[tuple[Any, Any], ...], ...]
    operand_of: dict[Any, int]
    rows: dict[int, RowPlace]
    weights: tuple[WeightPlace, ...]
    program: tuple[tuple[int, int], ...]
    memory_map: tuple[tuple[str, int, int], ...]
    buffer_bytes: int
    accumulator_bytes: int
    dram_bytes: int

    def weight_array(self, place: WeightPlace) -> Array:
        """The values of a weight."""
        return constant_array(operator_weights(self.bindings[place.operator])[place.number])


def backend_group(function: Any) -> BackendGroup:
    """The group that AttachToBackend made ``function`` of. Raises CompileError if it did not."""
    attributes = {str(key): value for key, value in dict(function.attrs or {}).items()}
    if GROUP_GRAPH not in attributes:
        raise CompileError(f"function has no attribute {GROUP_GRAPH!r}: AttachToBackend did not make it")
    graph = graph_from_json(json.loads(str(attributes[GROUP_GRAPH])))
    program = list(bindings(function))
    value_of = {binding.var: binding.value for binding in program}
    axes = [int(axis) for axis in attributes[ROW_AXES]]
    named = {var: None if axis == NO_ROWS else axis for var, axis in zip(function.params, axes, strict=True)}
    results = leaves(function.body.body, value_of)
    reading = read_operators(graph.name, function.params, program, results, int(attributes[BATCH]), named)
    if reading.graph.fingerprint != graph.fingerprint:
        raise CompileError(f"function does not hold the operators that its attribute {GROUP_GRAPH!r} says")
    rows = [
        RowPlace(int(operand), str(memory), int(address), int(lines), int(row_bytes))
        for operand, memory, address, lines, row_bytes in attributes[LINE_BUFFERS]
    ]
    return BackendGroup(
        symbol=str(attributes["global_symbol"]),
        graph=graph,
        batch=int(attributes[BATCH]),
        results=tuple(int(i) for i in attributes[RESULTS]),
        bindings=tuple(tuple((var, value_of[var]) for var in members) for members in reading.members),
        operand_of=reading.operand,
        rows={place.operand: place for place in rows},
        weights=tuple(WeightPlace(*(int(number) for number in place)) for place in attributes[WEIGHTS]),
        program=tuple((int(operand), int(row)) for operand, row in attributes[ROW_PROGRAM]),
        memory_map=tuple((str(name), int(address), int(size)) for name, address, size in attributes[MEMORY_MAP]),
        buffer_bytes=int(attributes[IR_BUFFER_BYTES]),
        accumulator_bytes=int(attributes[ACCUMULATOR_BYTES]),
        dram_bytes=int(attributes[IR_DRAM_BYTES]),
    )


def operator_weights(bound: tuple[tuple[Any, Any], ...]) -> list[Any]:
    """Tensor constants of an operator's bindings in their order, single numbers (immediate operands) left out."""
    constants = [c for _, value in bound for c in operands_of(value) if is_constant(c)]
    return [c for c in constants if np.prod([int(size) for size in c.ty.shape]) > 1]
