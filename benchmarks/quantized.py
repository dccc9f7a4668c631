"""Quantised networks as ONNX files, as onnxruntime's static quantiser makes them, and onnxruntime's own results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tvm_fusion.errors import FusionError
from tvm_fusion.passes import Extraction
from tvm_fusion.passes.execute import run_executable
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name

Array = npt.NDArray[Any]
OPSET = 17
# Operators whose result keeps the scale of their operand, so that folding needs no quantisation of its own for it.
MOVING = ("Flatten", "Reshape", "Transpose", "MaxPool", "Squeeze", "Unsqueeze", "Slice", "Pad", "Split")


def image(shape: Sequence[int], seed: int) -> Array:
    """Normal numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def float_file(model: Any, size: int, path: Path) -> Path:
    """A torch model as an ONNX file for images of ``size`` x ``size``, with batch statistics that fit its weights.

    Random weights alone would let activations grow or vanish from layer to layer, which no scale of 8 bits follows.
    """
    import torch

    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    with torch.no_grad():
        model(torch.randn(16, 3, size, size, generator=torch.Generator().manual_seed(0)))
    return exported(model.eval(), size, path)


def exported(model: Any, size: int, path: Path) -> Path:
    """A torch model as an ONNX file for one image of ``size`` x ``size``."""
    import torch

    example = (torch.zeros(1, 3, size, size),)
    torch.onnx.export(model, example, str(path), dynamo=False, opset_version=OPSET, verbose=False)
    return path


def quantized(path: Path, **options: Any) -> Path:
    """The float model ``path`` quantised (QDQ); int8 weights and a scale a tensor unless given."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    prepared, result = path.with_suffix(".prepared.onnx"), path.with_suffix(".int8.onnx")
    quant_pre_process(path, prepared, skip_symbolic_shape=True)
    images = _images(prepared)
    extra = {"ActivationSymmetric": options.pop("symmetric", False)}
    options = {"weight_type": QuantType.QInt8, **options}
    quantize_static(prepared, result, images, quant_format=QuantFormat.QDQ, extra_options=extra, **options)
    return result


def _images(path: Path) -> Any:
    """Four random images for the calibration of a model."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    value = onnx.load(path).graph.input[0]
    shape = [dimension.dim_value for dimension in value.type.tensor_type.shape.dim]

    class Images(CalibrationDataReader):
        left = 4

        def get_next(self) -> dict[str, Array] | None:
            """The next image, None after the last."""
            self.left -= 1
            return {value.name: image(shape, self.left)} if self.left >= 0 else None

    return Images()


def session(model: Path | bytes, threads: int = 1, whole_numbers: bool = False) -> Any:
    """onnxruntime on the processor. Raises FusionError if it is not installed.

    ``whole_numbers``: int8 operators add up whole numbers; by default it computes them on real ones on x86.
    """
    try:
        import onnxruntime
    except ImportError:
        raise FusionError("onnxruntime is not installed; pip install onnxruntime brings it") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if whole_numbers:
        options.add_session_config_entry("session.qdqisint8allowed", "1")
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def results(path: Path, images: Sequence[Array], whole_numbers: bool = False) -> list[Array]:
    """onnxruntime's first output for each image."""
    running = session(path, whole_numbers=whole_numbers)
    return [np.asarray(running.run(None, {running.get_inputs()[0].name: x})[0]) for x in images]


def step(extraction: Extraction) -> float:
    """One quantisation step of the network's output."""
    calls = [binding.value for binding in bindings(extraction.module["main"])]
    last = [call for call in calls if op_name(call) == "dequantize"][-1]
    return float(constant_array(last.args[1]).max())


def narrow_tensors(path: Path, x: Array) -> list[Array]:
    """Every 8-bit tensor that onnxruntime quantises, in the file's order, but those that only move another."""
    import onnx

    model = onnx.load(path)
    stored = {tensor.name for tensor in model.graph.initializer}
    maker = {name: node.op_type for node in model.graph.node for name in node.output}
    names = [
        node.output[0]
        for node in model.graph.node
        if node.op_type == "QuantizeLinear" and node.input[0] not in stored and maker.get(node.input[0]) not in MOVING
    ]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in names)
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
