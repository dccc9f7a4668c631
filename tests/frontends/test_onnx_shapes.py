"""Arithmetic on shapes inside ONNX graphs, as exporters that trace write it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from onnx import helper

from tests.cli.onnx_models import save
from tests.frontends.running import assert_close, noise, outputs_of
from tvm_fusion import load_graph, load_network

node = helper.make_node


def types(path: Path, **options: Any) -> list[str]:
    graph = load_graph(path, **options)
    assert not graph.warnings
    return [operator.type for operator in graph.operators]


def half(path: Path, first: Any = 1) -> Path:
    """The first half of the channels, its end computed from the shape; then relu."""
    weights = {"one": np.array([1]), "zero": np.array([0]), "two": np.array([2])}
    nodes = [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "one"], ["channels"]),
        node("Div", ["channels", "two"], ["end"]),
        node("Slice", ["x", "zero", "end", "one"], ["s"]),
        node("Relu", ["s"], ["y"]),
    ]
    return save(path, nodes, weights, [first, 6, 4, 4], [first, 3, 4, 4])


def test_slice_to_a_computed_end(tmp_path: Path) -> None:
    path = half(tmp_path / "a.onnx")
    assert types(path) == ["slice", "relu"]
    x = noise(1, 6, 4, 4)
    assert_close(outputs_of(load_network(path), [x]), [np.maximum(x[:, :3], 0)])


def test_with_a_dynamic_batch(tmp_path: Path) -> None:
    path = half(tmp_path / "a.onnx", "n")
    assert load_graph(path, batch=3).operators[-1].shape == (3, 3, 4, 4)


def test_reshape_to_a_computed_shape(tmp_path: Path) -> None:
    nodes = [
        node("Relu", ["x"], ["r"]),
        node("Shape", ["r"], ["batch"], start=0, end=1),
        node("Concat", ["batch", "rest"], ["shape"], axis=0),
        node("Reshape", ["r", "shape"], ["y"]),
    ]
    path = save(tmp_path / "a.onnx", nodes, {"rest": np.array([-1])}, ["n", 6, 4, 4], ["n", 96])
    assert types(path, batch=2) == ["relu", "reshape"]
    x = noise(2, 6, 4, 4)
    assert_close(outputs_of(load_network(path, batch=2), [x]), [np.maximum(x, 0).reshape(2, 96)])


def test_result_of_one_round_is_the_next_one_s_shape(tmp_path: Path) -> None:
    """A reshape to a computed shape, and a slice to an end computed from its result."""
    nodes = [
        node("Shape", ["x"], ["shape"], start=1, end=2),
        node("Concat", ["one", "shape", "rest"], ["target"], axis=0),
        node("Reshape", ["x", "target"], ["r"]),
        node("Shape", ["r"], ["places"], start=2, end=3),
        node("Div", ["places", "two"], ["end"]),
        node("Slice", ["r", "zero", "end", "two"], ["s"]),
        node("Relu", ["s"], ["y"]),
    ]
    weights = {name: np.array([number]) for name, number in (("zero", 0), ("one", 1), ("two", 2), ("rest", -1))}
    path = save(tmp_path / "a.onnx", nodes, weights, [1, 6, 4, 4], [1, 6, 8])
    x = noise(1, 6, 4, 4)
    assert_close(outputs_of(load_network(path), [x]), [np.maximum(x.reshape(1, 6, 16)[:, :, :8], 0)])


def test_shape_as_an_output(tmp_path: Path) -> None:
    nodes = [node("Relu", ["x"], ["r"]), node("Shape", ["r"], ["s"]), node("Cast", ["s"], ["f"], to=1)]
    nodes.append(node("Mul", ["f", "scale"], ["y"]))
    path = save(tmp_path / "a.onnx", nodes, {"scale": np.float32([2])}, [1, 6, 4, 4], [4])
    found = outputs_of(load_network(path), [noise(1, 6, 4, 4)])
    assert found[0].tolist() == [2, 12, 8, 8]
