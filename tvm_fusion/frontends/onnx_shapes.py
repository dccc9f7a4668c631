"""Shape arithmetic in ONNX graphs, computed beforehand: with static inputs it is all known."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[Any]
# Whole numbers in tensors up to this size are taken for shapes, indices or masks.
_LARGEST = 4096
_MOST_ROUNDS = 100


def fold_shapes(model: Any, shapes: dict[str, list[int]]) -> None:
    """Store what ``Shape`` and arithmetic on shapes give, in place, once the inputs have ``shapes``.

    TVM's importer turns such arithmetic into slices and reshapes of unknown size.
    """
    if not any(node.op_type == "Shape" for node in model.graph.node):
        return
    _set_input_shapes(model, shapes)
    known = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer if _is_small(t.data_type, t.dims)}
    for node in model.graph.node:
        if node.op_type == "Constant" and len(node.attribute) == 1 and node.attribute[0].name == "value":
            tensor = node.attribute[0].t
            if _is_small(tensor.data_type, tensor.dims):
                known[node.output[0]] = numpy_helper.to_array(tensor)
    for _ in range(_MOST_ROUNDS):
        if not _round(model, known):
            return


def _is_small(kind: int, dims: Any) -> bool:
    dtype = helper.tensor_dtype_to_np_dtype(kind) if kind != onnx.TensorProto.STRING else None
    return dtype is not None and dtype.kind in "iub" and int(np.prod(list(dims), dtype=np.int64)) <= _LARGEST


def _set_input_shapes(model: Any, shapes: dict[str, list[int]]) -> None:
    for value in model.graph.input:
        for dimension, size in zip(value.type.tensor_type.shape.dim, shapes.get(value.name, ()), strict=False):
            dimension.dim_value = size


def _round(model: Any, known: dict[str, Array]) -> bool:
    """Fold every operator whose result is known by now; whether there was one."""
    static = _static_shapes(model)
    kept = []
    for node in model.graph.node:
        result = _value(node, known, static, model.opset_import)
        if result is None:
            kept.append(node)
            continue
        known[node.output[0]] = result
        model.graph.initializer.append(numpy_helper.from_array(result, node.output[0]))
    folded = len(kept) < len(model.graph.node)
    if folded:
        del model.graph.node[:]
        model.graph.node.extend(kept)
    return folded


def _static_shapes(model: Any) -> dict[str, tuple[int, ...]]:
    """Shapes without a name in them, of every tensor that ONNX can infer; large weights are not copied."""
    skeleton = onnx.ModelProto()
    skeleton.opset_import.extend(model.opset_import)
    skeleton.ir_version = model.ir_version
    skeleton.graph.name = model.graph.name
    skeleton.graph.node.extend(model.graph.node)
    skeleton.graph.output.extend(onnx.ValueInfoProto(name=value.name) for value in model.graph.output)
    stored = {tensor.name for tensor in model.graph.initializer}
    skeleton.graph.input.extend(value for value in model.graph.input if value.name not in stored)
    for tensor in model.graph.initializer:
        if _is_small(tensor.data_type, tensor.dims):
            skeleton.graph.initializer.append(tensor)
        else:
            skeleton.graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
    try:
        graph = onnx.shape_inference.infer_shapes(skeleton).graph
    except onnx.shape_inference.InferenceError:  # the importer will say what is wrong
        return {}
    found = {}
    for value in (*graph.input, *graph.value_info):
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(d.HasField("dim_value") for d in kind.shape.dim):
            found[value.name] = tuple(int(d.dim_value) for d in kind.shape.dim)
    return found


def _value(node: Any, known: dict[str, Array], static: dict[str, tuple[int, ...]], opsets: Any) -> Array | None:
    """The result of one operator if it has one small result of whole numbers that is known, else None."""
    if (
        len(node.output) != 1
        or node.op_type in ("Constant", "ConstantOfShape")
        or any(a.HasField("g") for a in node.attribute)
    ):
        return None
    if node.op_type == "Shape":
        if node.input[0] not in static:
            return None
        options = {attribute.name: int(attribute.i) for attribute in node.attribute}
        return np.asarray(static[node.input[0]], np.int64)[options.get("start") : options.get("end")]
    names = [name for name in node.input if name]
    if not names or any(name not in known for name in names):
        return None
    inputs = [
        helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(known[n].dtype), known[n].shape)
        for n in dict.fromkeys(names)
    ]
    graph = helper.make_graph([node], "one", inputs, [onnx.ValueInfoProto(name=node.output[0])])
    try:
        evaluator = ReferenceEvaluator(helper.make_model(graph, opset_imports=list(opsets)))
        result = np.asarray(evaluator.run(None, {name: known[name] for name in names})[0])
    except Exception:  # what cannot be computed here stays an operator
        return None
    return result if result.dtype.kind in "iub" and result.size <= _LARGEST else None
