"""Consistency of an operator graph, checked once when it is made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm_fusion.errors import GraphError
from tvm_fusion.graph.check_types import check_types

if TYPE_CHECKING:
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.graph.operator import Operator, Tensor


def check_graph(graph: OperatorGraph) -> None:
    """Raise GraphError if ids, operands, demands, shapes or outputs of ``graph`` contradict."""
    check_types(graph)
    for tensor in (*graph.inputs, *graph.operators):
        _check_tensor(tensor)
    for position, operator in enumerate(graph.operators):
        if operator.id != position:
            raise GraphError(f"operator {operator.name!r} has id {operator.id}; its position is {position}")
        _check_operands(graph, operator)
    for output in graph.outputs:
        if not 0 <= output < len(graph.operators):
            raise GraphError(f"output {output} is no operator; allowed: 0 .. {len(graph.operators) - 1}")


def _check_tensor(tensor: Tensor) -> None:
    if any(size < 1 for size in tensor.shape):
        raise GraphError(f"tensor {tensor.name!r} has shape {list(tensor.shape)}; every size must be at least 1")
    if tensor.row_axis is not None and not 0 <= tensor.row_axis < len(tensor.shape):
        raise GraphError(f"tensor {tensor.name!r} has row axis {tensor.row_axis}; its shape is {list(tensor.shape)}")


def _check_operands(graph: OperatorGraph, operator: Operator) -> None:
    if len(operator.inputs) != len(operator.demands):
        raise GraphError(
            f"operator {operator.id} ({operator.name!r}) has {len(operator.inputs)} operands "
            f"and {len(operator.demands)} row demands; there must be one each"
        )
    if len(set(operator.inputs)) != len(operator.inputs):
        raise GraphError(f"operator {operator.id} ({operator.name!r}) lists an operand twice")
    for operand, demand in zip(operator.inputs, operator.demands, strict=True):
        if not -len(graph.inputs) <= operand < operator.id:
            raise GraphError(
                f"operator {operator.id} ({operator.name!r}) reads {operand}; "
                f"allowed: -{len(graph.inputs)} .. {operator.id - 1}"
            )
        height = graph.tensor(operand).height
        if operator.pointwise and height not in (1, operator.height):
            raise GraphError(
                f"operator {operator.id} ({operator.name!r}) is pointwise on {operator.height} rows "
                f"but reads {operand} with {height} rows"
            )
        if demand.kind == "row" and height < operator.height:
            raise GraphError(
                f"operator {operator.id} ({operator.name!r}) needs row r of {operand}, "
                f"which has {height} rows for {operator.height} of its own"
            )
        if demand.kind == "table":
            _check_table(operator, operand, height)


def _check_table(operator: Operator, operand: int, height: int) -> None:
    demand = operator.demands[operator.inputs.index(operand)]
    if not len(demand.first) == len(demand.last) == operator.height:
        raise GraphError(f"operator {operator.id} ({operator.name!r}) needs a table of {operator.height} rows")
    for first, last in zip(demand.first, demand.last, strict=True):
        if last >= first and not 0 <= first <= last < height:
            raise GraphError(
                f"operator {operator.id} ({operator.name!r}) demands rows {first} .. {last} of {operand}, "
                f"which has {height}"
            )
