"""Small quantised ONNX files, and the 8-bit tensors within a network as onnxruntime and as we compute them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import tvm
from onnx import helper
from onnxruntime.quantization import QuantType
from tvm import relax

from benchmarks.quantized import quantized, session
from tests.cli.onnx_models import save
from tvm_fusion.passes import Extraction
from tvm_fusion.passes.execute import run_executable
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, op_name

Array = np.ndarray
Node = tuple[str, str, str, dict[str, Any]]
# Operators whose result keeps the scale of their operand, so that folding needs no quantisation of its own for it.
MOVING = ("Flatten", "Reshape", "Transpose", "MaxPool", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split")
SETTINGS = {
    "int8, a scale a channel": {"activation_type": QuantType.QInt8, "per_channel": True},
    "int8, a scale a tensor": {"activation_type": QuantType.QInt8, "per_channel": False},
    "uint8, a scale a channel": {"activation_type": QuantType.QUInt8, "per_channel": True},
    "int8, zero points 0": {"activation_type": QuantType.QInt8, "per_channel": True, "symmetric": True},
}


def small(folder: Path, nodes: Sequence[Node], weights: dict[str, Array], shape: Sequence[int], **options: Any) -> Path:
    """A quantised model of ``nodes``: (operator, names of operands, name of the result, attributes), from x to y."""
    made = [
        helper.make_node(kind, read.split(), result.split(), **attributes) for kind, read, result, attributes in nodes
    ]
    path = save(folder / "small.onnx", made, weights, list(shape))
    model = onnx.load(path)
    model.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(onnx.shape_inference.infer_shapes(model), path)
    return quantized(path, **options)


def narrow_tensors(path: Path, x: Array) -> list[Array]:
    """Every 8-bit tensor that onnxruntime quantises, in the file's order, but those that only move another."""
    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    maker = {name: node.op_type for node in model.graph.node for name in node.output}
    names = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored and maker.get(node.input[0]) not in MOVING
    ]
    model.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in names)
    running = session(onnx.shape_inference.infer_shapes(model).SerializeToString())
    return [np.asarray(found) for found in running.run(names, {running.get_inputs()[0].name: x})]


def from_given_operands(extraction: Extraction, x: Array, given: list[Array]) -> list[Array]:
    """What every quantize of the folded network makes of ``given``, the results of the others."""
    function = extraction.module["main"]
    made = [binding.var for binding in bindings(function) if op_name(binding.value) == "quantize"]
    assert [tuple(map(int, var.ty.shape)) for var in made] == [array.shape for array in given]
    builder = relax.BlockBuilder()
    params = [relax.Var("x", function.params[0].ty), *(relax.Var(f"given_{k}", v.ty) for k, v in enumerate(made))]
    values: dict[Any, Any] = dict(zip([*function.params, *made], params, strict=True))
    with builder.function("main", params):
        with builder.dataflow():
            computed = []
            for binding in bindings(function):
                var = builder.emit(substitute(binding.value, values))
                if binding.var in made:
                    computed.append(builder.emit_output(var))
                else:
                    values[binding.var] = var
        builder.emit_func_output(relax.Tuple(computed))
    return run_executable(tvm.compile(builder.get(), "llvm"), [x, *given])
