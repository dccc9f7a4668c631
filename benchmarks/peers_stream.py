"""stream-dse (KU Leuven) on a network's ONNX file, in an environment of its own: its packages are older than ours."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import onnx
import onnx.helper
import onnx.shape_inference

from benchmarks.quantized import exported
from tvm_fusion.cli import session
from tvm_fusion.errors import FusionError

INSTALL = "stream-dse==0.0.8 zigzag-dse==2.5.4 'numpy<2' 'pandas<2.3' plotly"
# The first part of the layers that is fused line by line; the user of stream-dse chooses it.
PARTS = {
    "stream-dse, layer by layer": 0.0,
    "stream-dse, a tenth by lines": 0.1,
    "stream-dse, a quarter by lines": 0.25,
    "stream-dse, half by lines": 0.5,
    "stream-dse, line by line": 1.0,
}
CHILD = Path(__file__).parent / "stream_child.py"
TIME_LIMIT_SECONDS = 600


def check_stream(python: Path) -> None:
    """Raise FusionError unless ``python`` is an interpreter that has stream-dse."""
    try:
        done = subprocess.run(
            [python, "-c", "import stream.classes.stages"], check=False, capture_output=True, text=True
        )
    except OSError as error:
        raise FusionError(f"--stream {str(python)!r} cannot be executed: {error.strerror or error}") from None
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise FusionError(f"--stream {str(python)!r} cannot import stream-dse ({last}); pip install {INSTALL}")


def with_own_weights(model: Any) -> Any:
    """An ONNX model whose every layer has its weights as an initializer; torch's export shares equal ones by Identity.

    stream-dse takes a layer whose weights are no initializer for a product of two activations.
    """
    graph = model.graph
    values = {value.name: value for value in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "Identity" and node.input[0] in values]:
        copied = graph.initializer.add()
        copied.CopyFrom(values[node.input[0]])
        copied.name = node.output[0]
        values[copied.name] = copied
        graph.node.remove(node)
    return model


def with_silu_in_one(model: Any) -> Any:
    """An ONNX model with x * Sigmoid(x) as one operator (HardSwish, which has the same shapes).

    stream-dse executes it for free, as it does ReLU; for the product it finds no order of loops where a map is large.
    """
    graph = model.graph
    readers = Counter(name for node in graph.node for name in node.input)
    gates = {node.output[0]: node for node in graph.node if node.op_type == "Sigmoid" and readers[node.output[0]] == 1}
    for product in [node for node in graph.node if node.op_type == "Mul"]:
        for value, gate in (product.input, reversed(product.input)):
            if gate in gates and gates[gate].input[0] == value:
                graph.node.remove(gates[gate])
                product.CopyFrom(onnx.helper.make_node("HardSwish", [value], product.output, product.name))
                break
    return model


def run_stream(python: Path, net: str, buffer_bytes: int, part: float) -> dict[str, Any]:
    """What moves from and to DRAM; where it does not run, "problem" says why."""
    from tvm_fusion.frontends.model_name import build_model

    with tempfile.TemporaryDirectory() as folder:
        with session.quiet(verbose=False):
            built = build_model(net, seed=0)
            path = exported(built.module, built.image_shape[1], Path(folder) / "network.onnx")
        model = with_silu_in_one(with_own_weights(onnx.load(path)))
        onnx.save(onnx.shape_inference.infer_shapes(model), path)
        command = [str(python), str(CHILD), str(path), str(buffer_bytes), str(part)]
        try:
            done = subprocess.run(
                command, check=False, capture_output=True, text=True, timeout=TIME_LIMIT_SECONDS, cwd=folder
            )
        except subprocess.TimeoutExpired:
            return {"problem": f"takes more than {TIME_LIMIT_SECONDS} s"}
    lines = done.stderr if done.returncode else done.stdout
    last = (lines.strip().splitlines() or ["no message"])[-1]
    found: dict[str, Any] = {"problem": last} if done.returncode else json.loads(last)
    return found
