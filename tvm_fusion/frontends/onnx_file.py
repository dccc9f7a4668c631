"""ONNX files, with or without their weights."""

from __future__ import annotations

import contextlib
import io
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from tvm_fusion.errors import FrontendError
from tvm_fusion.frontends.messages import joined, last_line
from tvm_fusion.frontends.network import Network
from tvm_fusion.frontends.onnx_shapes import fold_shapes
from tvm_fusion.frontends.random_weights import draw
from tvm_fusion.frontends.relax_module import bind_batch, check_fixed_batch, dynamic_size

# Operand positions that hold parameters.
_PARAMETERS = {
    "Conv": (1, 2),
    "ConvTranspose": (1, 2),
    "Gemm": (1, 2),
    "MatMul": (1,),
    "BatchNormalization": (1, 2, 3, 4),
}
_COMBINING = ("Unsqueeze", "Mul", "Add", "Sum")


def load_onnx(path: Path, batch: int, seed: int) -> Network:
    """A network from an .onnx file; weights that the file only describes are drawn from ``seed``."""
    from tvm_fusion.frontends.onnx_import import import_model

    model = _read(path)
    _fill_weights(model, np.random.default_rng(seed))
    shapes = _input_shapes(model, batch)
    fold_shapes(model, shapes)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            module = import_model(model, shapes)
    except Exception as error:  # the importer raises OpNotImplemented, ValueError, AssertionError, TVMError ...
        raise FrontendError(f"TVM cannot import {str(path)!r}: {last_line(error)}") from None
    return Network(bind_batch(module, 1), path.stem, "onnx")


def _read(path: Path) -> Any:
    try:
        model = onnx.load(str(path))
    except Exception as error:  # protobuf's DecodeError, onnx's ValidationError, OSError ...
        kept = _external_files(path)
        if missing := [name for name in kept if not (path.parent / name).is_file()]:
            raise FrontendError(f"{str(path)!r} keeps weights in {missing[0]!r}, which is missing beside it") from None
        raise FrontendError(f"{str(path)!r} is no readable ONNX file: {joined(error)}") from None
    if not model.graph.node:
        raise FrontendError(f"{str(path)!r} is an ONNX file without operators")
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()  # the checker wants a shape, which nothing needs
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        raise FrontendError(f"{str(path)!r} is no valid ONNX file: {joined(error)}") from None
    except ValueError:  # above 2 GiB the checker takes only paths; the importer will say what is wrong
        pass
    return model


def _external_files(path: Path) -> list[str]:
    """Names of the files that hold an ONNX file's weights; none if it cannot be read at all."""
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception:  # as above
        return []
    entries = (entry for tensor in model.graph.initializer for entry in tensor.external_data)
    return list(dict.fromkeys(str(entry.value) for entry in entries if entry.key == "location"))


def _input_shapes(model: Any, batch: int) -> dict[str, list[int]]:
    """Shapes of the network's inputs with the batch set. Raises FrontendError for other dynamic sizes."""
    stored = {tensor.name for tensor in model.graph.initializer}
    shapes: dict[str, list[int]] = {}
    fixed: dict[str, int] = {}
    dynamic = False
    for value in model.graph.input:
        if value.name in stored:
            continue
        if not value.type.HasField("tensor_type"):
            raise FrontendError(f"input {value.name!r} is no tensor")
        if not value.type.tensor_type.HasField("shape"):
            raise FrontendError(f"input {value.name!r} has no known shape; only the batch may be dynamic")
        sizes: list[int] = []
        for axis, dimension in enumerate(value.type.tensor_type.shape.dim):
            size = int(dimension.dim_value)
            if size < 1 and axis:
                if dimension.HasField("dim_value") and size == 0:
                    raise FrontendError(f"input {value.name!r} has the size 0 in dimension {axis}: it holds nothing")
                raise dynamic_size(value.name, dimension.dim_param or "?", axis)
            dynamic |= size < 1
            sizes.append(size if size > 0 else batch)
        shapes[value.name] = sizes
        if len(sizes) >= 2:
            fixed[value.name] = sizes[0]
    if not shapes:
        raise FrontendError("the ONNX file has no input")
    check_fixed_batch({} if dynamic else fixed, batch)
    return shapes


def _fill_weights(model: Any, generator: np.random.Generator) -> None:
    """Put random arrays where a parameter is made by ConstantOfShape (a graph shipped without weights)."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    places = {
        name: (node.op_type, position)
        for node in model.graph.node
        for position, name in enumerate(node.input)
        if position in _PARAMETERS.get(node.op_type, ()) or node.op_type in _COMBINING
    }
    kept = []
    for node in model.graph.node:
        described = node.op_type == "ConstantOfShape" and node.input[0] in stored and node.output[0] in places
        if not described:
            kept.append(node)
            continue
        shape = tuple(int(size) for size in numpy_helper.to_array(stored[node.input[0]]))
        op_type, position = places[node.output[0]]
        scales = op_type == "BatchNormalization" and position in (1, 4)
        around_one = scales or (op_type in ("Unsqueeze", "Mul") and len(shape) < 2)
        array = draw(shape, generator, around_one)
        model.graph.initializer.append(numpy_helper.from_array(array, node.output[0]))
    if len(kept) < len(model.graph.node):
        _replace_nodes(model, kept, stored)


def _replace_nodes(model: Any, kept: list[Any], stored: dict[str, Any]) -> None:
    """Keep only these operators, and of the stored tensors and inputs those that they read."""
    del model.graph.node[:]
    model.graph.node.extend(kept)
    read = {name for node in kept for name in node.input}
    for unread in [tensor for name, tensor in stored.items() if name not in read]:
        model.graph.initializer.remove(unread)
    for value in [v for v in model.graph.input if v.name in stored and v.name not in read]:
        model.graph.input.remove(value)
