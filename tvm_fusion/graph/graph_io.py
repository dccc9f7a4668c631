"""OperatorGraph as JSON, in and out: the format of ``tvm-fusion graph NET --json``."""

from __future__ import annotations

from typing import Any

from tvm_fusion.errors import GraphError
from tvm_fusion.graph.demand import RowDemand
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator, Tensor, Window


def tensor_to_json(tensor: Tensor) -> dict[str, Any]:
    """Name, shape, dtype, row axis and batch of a tensor."""
    return {
        "name": tensor.name,
        "shape": list(tensor.shape),
        "dtype": tensor.dtype,
        "row_axis": tensor.row_axis,
        "batch": tensor.batch,
    }


def operator_to_json(operator: Operator) -> dict[str, Any]:
    """Everything known of an operator."""
    mixed = {} if operator.weight_bytes is None else {"weight_bytes": operator.weight_bytes}
    return {
        "id": operator.id,
        **tensor_to_json(operator),
        "type": operator.type,
        "inputs": list(operator.inputs),
        "weight_elements": operator.weight_elements,
        "weight_dtype": operator.weight_dtype,
        **mixed,
        "macs": operator.macs,
        "window": operator.window.to_json() if operator.window else None,
        "pointwise": operator.pointwise,
        "row_demand": [demand.to_json() for demand in operator.demands],
        "attributes": operator.attributes,
    }


def graph_to_json(graph: OperatorGraph) -> dict[str, Any]:
    """The whole graph as JSON, fingerprint and warnings included."""
    return {
        "name": graph.name,
        "fingerprint": graph.fingerprint,
        "inputs": [tensor_to_json(tensor) for tensor in graph.inputs],
        "outputs": list(graph.outputs),
        "operators": [operator_to_json(operator) for operator in graph.operators],
        "warnings": list(graph.warnings),
    }


def graph_from_json(data: dict[str, Any]) -> OperatorGraph:
    """Inverse of :func:`graph_to_json`. Raises GraphError that names what is missing or wrong."""
    try:
        graph = OperatorGraph(
            name=data.get("name", "network"),
            inputs=tuple(Tensor(**_tensor_fields(entry)) for entry in data["inputs"]),
            operators=tuple(_operator(entry) for entry in data["operators"]),
            outputs=tuple(data["outputs"]),
            warnings=tuple(data.get("warnings", ())),
        )
    except KeyError as error:
        raise GraphError(f"operator graph JSON lacks {error.args[0]!r}") from None
    except (TypeError, AttributeError, ValueError) as error:
        raise GraphError(f"operator graph JSON is malformed: {error}") from None
    expected = data.get("fingerprint")
    if expected is not None and expected != graph.fingerprint:
        raise GraphError(f"operator graph JSON says fingerprint {expected}, its content has {graph.fingerprint}")
    return graph


def _tensor_fields(entry: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": entry["name"],
        "shape": tuple(entry["shape"]),
        "dtype": entry.get("dtype", "float32"),
        "row_axis": entry.get("row_axis"),
        "batch": entry.get("batch", 1),
    }


def _operator(entry: dict[str, Any]) -> Operator:
    window = entry.get("window")
    return Operator(
        **_tensor_fields(entry),
        id=entry["id"],
        type=entry["type"],
        inputs=tuple(entry["inputs"]),
        demands=tuple(RowDemand.from_json(demand) for demand in entry["row_demand"]),
        weight_elements=entry["weight_elements"],
        weight_dtype=entry.get("weight_dtype", "float32"),
        weight_bytes=entry.get("weight_bytes"),
        macs=entry["macs"],
        window=Window(**{key: tuple(value) for key, value in window.items()}) if window else None,
        pointwise=entry.get("pointwise", False),
        attributes=entry.get("attributes") or {},
    )
