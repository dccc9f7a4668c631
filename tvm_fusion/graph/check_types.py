"""Types and ranges of the facts in an operator graph that came from outside (JSON)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tvm_fusion.errors import GraphError

if TYPE_CHECKING:
    from tvm_fusion.graph.demand import RowDemand
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.graph.operator import Operator, Tensor, Window

MOST = 2**62  # elements, MACs and sizes: far above any network, far below where arithmetic gets slow


def check_types(graph: OperatorGraph) -> None:
    """Raise GraphError naming the first value that is no number, text or truth value of the kind it must be."""
    _text("network", "name", graph.name)
    for tensor in (*graph.inputs, *graph.operators):
        _check_tensor(tensor)
    for operator in graph.operators:
        _check_operator(operator)
    for output in graph.outputs:
        _whole("network", "output", output, 0)


def _check_tensor(tensor: Tensor) -> None:
    _text("tensor", "name", tensor.name)
    where = f"tensor {tensor.name!r}"
    _text(where, "dtype", tensor.dtype)
    _whole(where, "batch", tensor.batch, 1)
    for size in tensor.shape:
        _whole(where, "size", size, -MOST)
    if tensor.row_axis is not None:
        _whole(where, "row_axis", tensor.row_axis, 0)


def _check_operator(operator: Operator) -> None:
    where = f"operator {operator.name!r}"
    _whole(where, "id", operator.id, 0)
    _text(where, "type", operator.type)
    _text(where, "weight_dtype", operator.weight_dtype)
    _whole(where, "weight_elements", operator.weight_elements, 0)
    if operator.weight_bytes is not None:
        _whole(where, "weight_bytes", operator.weight_bytes, 0)
    _whole(where, "macs", operator.macs, 0)
    if not isinstance(operator.pointwise, bool):
        raise GraphError(f"{where} has pointwise {operator.pointwise!r}; it must be true or false")
    for operand in operator.inputs:
        _whole(where, "operand", operand, -MOST)
    for demand in operator.demands:
        _check_demand(where, demand)
    if operator.window is not None:
        _check_window(where, operator.window)


def _check_demand(where: str, demand: RowDemand) -> None:
    for name, least in (("kernel", 1), ("stride", 1), ("padding", -MOST), ("dilation", 1)):
        _whole(where, f"row demand {name}", getattr(demand, name), least)
    for row in (*demand.first, *demand.last):
        _whole(where, "row of a table", row, -MOST)


def _check_window(where: str, window: Window) -> None:
    for name, count, least in (("kernel", 2, 1), ("stride", 2, 1), ("padding", 4, -MOST), ("dilation", 2, 1)):
        values = getattr(window, name)
        if len(values) != count:
            raise GraphError(f"{where} has window {name} {list(values)!r}; it must be {count} numbers")
        for value in values:
            _whole(where, f"window {name}", value, least)


def _whole(where: str, name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST:
        allowed = "a whole number" if least < 0 else f"a whole number from {least}"
        raise GraphError(f"{where} has {name} {value!r}; it must be {allowed}")


def _text(where: str, name: str, value: object) -> None:
    if not isinstance(value, str):
        raise GraphError(f"{where} has {name} {value!r}; it must be text")
