"""ONNX files, with or without their weights."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.exported_program import one_line
from tvm_fusion.frontends.network import Network

# Operand positions that hold parameters, and how a batch norm's are drawn.
_PARAMETERS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2, 3, 4),
}


def load_onnx(path: Path, batch: int, seed: int) -> Network:
    """A network from an .onnx file; weights that the file only describes are drawn from ``seed``."""
    from tvm.relax.frontend.onnx import from_onnx

    model = _read(path)
    _fill_weights(model, np.random.default_rng(seed))
    shapes = _input_shapes(model, batch)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = from_onnx(model, shape_dict=shapes, keep_params_in_input=False)
    except Exception as error:  # the importer raises OpNotImplemented, ValueError, AssertionError, TVMError ...
        raise FrontendError(f"TVM cannot import {str(path)!r}: {one_line(error)}") from None
    from tvm_fusion.frontends.relax_module import bind_batch

    return Network(bind_batch(module, batch), path.stem, "onnx")


def _read(path: Path) -> Any:
    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except FileNotFoundError as error:
        raise FrontendError(f"{str(path)!r} keeps weights in another file that is missing: {one_line(error)}") from None
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError, OSError ...
        raise FrontendError(f"{str(path)!r} is no readable ONNX file: {one_line(error)}") from None
    if not model.graph.node:
        raise FrontendError(f"{str(path)!r} is an ONNX file without operators")
    return model


def _input_shapes(model: Any, batch: int) -> dict[str, list[int]]:
    """Shapes of the network's inputs with the batch set. Raises FrontendError for other dynamic sizes."""
    stored = {tensor.name for tensor in model.graph.initializer}
    shapes: dict[str, list[int]] = {}
    for value in model.graph.input:
        if value.name in stored:
            continue
        if not value.type.tensor_type.HasField("shape"):
            raise FrontendError(f"input {value.name!r} has no shape; only the batch may be dynamic")
        sizes = []
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            size = int(dimension.dim_value)
            if size < 1 and axis:
                name = dimension.dim_param or "?"
                raise FrontendError(
                    f"input {value.name!r} has the dynamic size {name!r} in dimension {axis}; only the batch may be dynamic"
                )
            sizes.append(size if size > 0 else batch)
        shapes[value.name] = sizes
    if not shapes:
        raise FrontendError("the ONNX file has no input")
    return shapes


def _fill_weights(model: Any, generator: np.random.Generator) -> None:
    """Put random arrays where a parameter is made by ConstantOfShape (a graph shipped without weights)."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    places = {
        name: (node.op_type, position)
        for node in model.graph.node
        for position, name in enumerate(node.input)
        if position in _PARAMETERS.get(node.op_type, ()) or node.op_type in ("Unsqueeze", "Mul", "Add", "Sum")
    }
    kept = []
    for node in model.graph.node:
        described = node.op_type == "ConstantOfShape" and node.input[0] in stored and node.output[0] in places
        if not described:
            kept.append(node)
            continue
        shape = tuple(int(size) for size in numpy_helper.to_array(stored[node.input[0]]))
        array = _draw(shape, *places[node.output[0]], generator)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    if len(kept) < len(model.graph.node):
        del model.graph.node[:]
        model.graph.node.extend(kept)
        read = {name for node in kept for name in node.input}
        for unread in [t for name, t in stored.items() if name not in read]:
            model.graph.initializer.remove(unread)
        for value in [v for v in model.graph.input if v.name in stored and v.name not in read]:
            model.graph.input.remove(value)


def _draw(shape: tuple[int, ...], op_type: str, position: int, generator: np.random.Generator) -> Any:
    """Weights at He's scale, statistics around 0 and 1, so that activations stay finite."""
    if len(shape) >= 2:
        fan_in = int(np.prod(shape[1:]))
        values = generator.standard_normal(shape) * np.sqrt(2.0 / max(1, fan_in))
    elif op_type == "BatchNormalization" and position in (1, 4):
        values = generator.uniform(0.5, 1.5, shape)
    elif op_type in ("Unsqueeze", "Mul"):
        values = generator.uniform(0.5, 1.5, shape)
    else:
        values = generator.standard_normal(shape) * 0.02
    return values.astype(np.float32)
