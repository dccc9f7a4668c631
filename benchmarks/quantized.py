"""Quantised networks as ONNX files, as onnxruntime's static quantiser makes them, and onnxruntime's own results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tvm_fusion.errors import FusionError
from tvm_fusion.passes import Extraction
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name

Array = npt.NDArray[Any]
OPSET = 17


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
        model(torch.randn(16, 3, size, size))
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


def session(model: Path | bytes, optimised: bool = True, threads: int = 1) -> Any:
    """onnxruntime on the processor. Raises FusionError if it is not installed."""
    try:
        import onnxruntime
    except ImportError:
        raise FusionError("onnxruntime is not installed; pip install onnxruntime brings it") from None
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    given = model if isinstance(model, bytes) else str(model)
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def results(path: Path, images: Sequence[Array], optimised: bool = True) -> list[Array]:
    """onnxruntime's first output for each image."""
    running = session(path, optimised)
    return [np.asarray(running.run(None, {running.get_inputs()[0].name: x})[0]) for x in images]


def step(extraction: Extraction) -> float:
    """One quantisation step of the network's output."""
    calls = [binding.value for binding in bindings(extraction.module["main"])]
    last = [call for call in calls if op_name(call) == "dequantize"][-1]
    return float(constant_array(last.args[1]).max())
