"""Small ONNX files made in the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(
    path: Path,
    nodes: list[onnx.NodeProto],
    weights: dict[str, np.ndarray],
    shape: list[object],
    out_shape: list[object] | None = None,
) -> Path:
    """A model from input ``x`` to output ``y`` (of the same shape unless given)."""
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, out_shape or shape)],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def convnet(path: Path, shape: list[object] | None = None, channels: int = 4) -> Path:
    """conv3x3 -> relu -> conv3x3 -> add(x) -> relu, 4 channels."""
    rng = np.random.default_rng(0)
    w = {f"w{k}": rng.standard_normal((channels, channels, 3, 3)).astype(np.float32) / 6 for k in range(2)}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w1"], ["c"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
        helper.make_node("Add", ["x", "c"], ["d"]),
        helper.make_node("Relu", ["d"], ["y"]),
    ]
    return save(path, nodes, w, shape or [1, channels, 16, 16])


def heavy(path: Path) -> Path:
    """A dense layer whose weights alone (320 KiB at 8 bits) are larger than the default buffer."""
    weight = np.random.default_rng(0).standard_normal((512, 640)).astype(np.float32) / 25
    nodes = [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])]
    return save(path, nodes, {"w": weight}, [1, 512], [1, 640])


def unknown_operator(path: Path) -> Path:
    """An operator that no importer knows."""
    node = helper.make_node("NoSuchOperator", ["x"], ["y"], domain="example.invalid")
    return save(path, [node], {}, [1, 4, 8, 8])
