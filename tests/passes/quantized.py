"""Small quantised ONNX files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from onnxruntime.quantization import QuantType

from benchmarks.quantized import quantized
from tests.cli.onnx_models import save

Array = np.ndarray
Node = tuple[str, str, str, dict[str, Any]]
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
