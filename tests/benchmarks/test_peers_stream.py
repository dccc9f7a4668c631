"""benchmarks/peers_stream.py: a run of stream-dse in another environment, here played by a script."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchmarks import peers, peers_stream, peers_tables
from benchmarks.peers_stream import check_stream, run_stream, with_own_weights, with_silu_in_one
from tests.benchmarks.test_peers import by_hand, record, row
from tvm_fusion.errors import FusionError


def shared_weights() -> Any:
    """Two convolutions of one kernel, the second by Identity, and an Identity of an activation."""
    shape = [1, 2, 4, 4]
    kernel = numpy_helper.from_array(np.ones((2, 2, 1, 1), np.float32), "w")
    nodes = [
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("Conv", ["x", "w"], ["a"]),
        helper.make_node("Identity", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "w2"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in "xy")
    return helper.make_model(helper.make_graph(nodes, "g", [x], [y], [kernel]))


def test_every_layer_gets_weights_of_its_own() -> None:
    model = with_own_weights(shared_weights())
    onnx.checker.check_model(model)
    assert [node.op_type for node in model.graph.node] == ["Conv", "Identity", "Conv"]
    own = {value.name: numpy_helper.to_array(value) for value in model.graph.initializer}
    assert set(own) == {"w", "w2"}
    np.testing.assert_array_equal(own["w"], own["w2"])


def interpreter(folder: Path, text: str) -> Path:
    """A program that stands for an interpreter with stream-dse."""
    path = folder / "python"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def small_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """No network is built: the file is :func:`shared_weights`."""

    def export(_module: Any, _size: int, path: Path) -> Path:
        onnx.save(shared_weights(), str(path))
        return path

    built = type("Built", (), {"module": None, "image_shape": (2, 4, 4)})
    monkeypatch.setattr("tvm_fusion.frontends.model_name.build_model", lambda *_, **__: built)
    monkeypatch.setattr(peers_stream, "exported", export)


@pytest.mark.usefixtures("small_file")
def test_the_last_line_of_the_run_is_its_result(tmp_path: Path) -> None:
    python = interpreter(tmp_path, 'echo noise; echo "{\\"dram_bytes\\": $3, \\"part\\": $4}"')
    assert run_stream(python, "n", 4096, 0.25) == {"dram_bytes": 4096, "part": 0.25}


@pytest.mark.usefixtures("small_file")
def test_a_run_that_fails_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert run_stream(interpreter(tmp_path, "echo line; echo 'no loop ordering' >&2; exit 1"), "n", 4096, 0.0) == {
        "problem": "no loop ordering"
    }
    monkeypatch.setattr(peers_stream, "TIME_LIMIT_SECONDS", 0.2)
    assert run_stream(interpreter(tmp_path, "exec sleep 20"), "n", 4096, 0.0) == {"problem": "takes more than 0.2 s"}


def test_an_interpreter_without_stream_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FusionError, match=r"--stream '.*none' cannot be executed: No such file"):
        check_stream(tmp_path / "none")
    with pytest.raises(
        FusionError, match=r"cannot import stream-dse .*No module named 'stream'.*; pip install stream-dse"
    ):
        check_stream(Path(sys.executable))
    check_stream(interpreter(tmp_path, "exit 0"))


def test_rows_of_stream_are_kept_also_where_it_does_not_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    by_hand(monkeypatch)
    asked: list[float] = []

    def run(_python: Path, _net: str, _buffer: int, part: float) -> dict[str, Any]:
        asked.append(part)
        return {"problem": "no ordering"} if part else {"dram_bytes": 7_000_000, "stream_version": {"stream-dse": "0"}}

    monkeypatch.setattr(peers, "run_stream", run)
    for _ in range(2):
        rows = peers.measure("n", "4KiB", 10.0, tmp_path, stream=Path("python")).data["rows"]
    assert asked == list(peers_stream.PARTS.values())
    assert [entry["method"] for entry in rows][-len(asked) :] == list(peers_stream.PARTS)
    without = peers.measure("n", "4KiB", 10.0, tmp_path).data["rows"]
    assert without == rows


def test_table_of_stream() -> None:
    lines = peers_tables.table(record(
        row("stream-dse, layer by layer", "", 7_000_000, stream_version={"stream-dse": "0.0.8"}),
        {"method": "stream-dse, line by line", "choice": "", "schemes": [], "problem": "no ordering", "seconds": 1.0},
    ))  # fmt: skip
    assert any("| 7.00 |  | stream-dse's own estimate (0.0.8) |" in line for line in lines)
    assert "- stream-dse, line by line does not run: no ordering" in lines


def test_silu_becomes_one_operator_and_a_gate_stays() -> None:
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["g"]),
        helper.make_node("Mul", ["g", "x"], ["a"]),
        helper.make_node("Sigmoid", ["a"], ["h"]),
        helper.make_node("Mul", ["x", "h"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 2, 4, 4]) for name in "xy")
    model = helper.make_model(helper.make_graph(nodes, "g", [x], [y]), opset_imports=[helper.make_opsetid("", 17)])
    found = with_silu_in_one(model)
    onnx.checker.check_model(found, full_check=True)
    assert [node.op_type for node in found.graph.node] == ["HardSwish", "Sigmoid", "Mul"]
    assert found.graph.node[0].output == ["a"]
