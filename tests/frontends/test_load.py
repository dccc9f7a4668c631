"""Which front end takes a network, and what is refused before any of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.cli.onnx_models import convnet
from tvm_fusion import load_graph, load_network
from tvm_fusion.errors import FrontendError


@pytest.mark.parametrize("as_path", [True, False])
def test_path_or_text(tmp_path: Path, as_path: bool) -> None:
    path = convnet(tmp_path / "block.onnx")
    network = load_network(path if as_path else str(path))
    assert (network.name, network.source) == ("block", "onnx")


def test_ending_in_capitals(tmp_path: Path) -> None:
    assert load_network(convnet(tmp_path / "BLOCK.ONNX")).source == "onnx"


def test_graph_of_a_network(tmp_path: Path) -> None:
    graph = load_graph(convnet(tmp_path / "block.onnx"))
    assert graph.name == "block"
    assert [operator.type for operator in graph.operators] == ["conv2d", "relu", "conv2d", "add", "relu"]


@pytest.mark.parametrize("batch", [0, -1])
def test_batch_too_small(batch: int) -> None:
    with pytest.raises(FrontendError, match=f"batch {batch} is too small"):
        load_network("resnet18", batch=batch)


@pytest.mark.parametrize("spec", [None, 3, b"net.onnx", ["resnet18"], object()])
def test_things_that_are_no_network(spec: Any) -> None:
    with pytest.raises(FrontendError, match=f"got {type(spec).__name__}"):
        load_network(spec)


@pytest.mark.parametrize("spec", ["", " "])
def test_empty(spec: str) -> None:
    with pytest.raises(FrontendError, match="the network is empty; give a model name"):
        load_network(spec)


@pytest.mark.parametrize("name", ["none.onnx", "none.pt2", "nowhere/none.onnx"])
def test_missing_file(tmp_path: Path, name: str) -> None:
    with pytest.raises(FrontendError, match=f"{name}' does not exist"):
        load_network(tmp_path / name)


def test_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "odd.onnx").mkdir()
    (tmp_path / "some_folder").mkdir()
    monkeypatch.chdir(tmp_path)
    for spec in ("odd.onnx", "some_folder", "some_folder/", tmp_path, tmp_path / "some_folder"):
        with pytest.raises(FrontendError, match="is a folder"):
            load_network(spec)


def test_file_of_no_known_kind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "notes").write_text("a text")
    monkeypatch.chdir(tmp_path)
    for spec in ("notes", "./notes", tmp_path / "notes"):
        with pytest.raises(FrontendError, match=r"is no model name; a file must end in \.onnx or \.pt2"):
            load_network(spec)


@pytest.mark.parametrize(
    ("name", "advice"),
    [("net.pth", "torch.export.save"), ("net.pt", "torch.export.save"), ("net.tflite", "ONNX"), ("a/b.h5", "ONNX")],
)
def test_files_of_other_frameworks(name: str, advice: str) -> None:
    with pytest.raises(FrontendError, match=advice):
        load_network(name)


def test_folder_named_like_a_model_does_not_hide_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torchvision")
    (tmp_path / "squeezenet1_1").mkdir()
    monkeypatch.chdir(tmp_path)
    assert load_network("squeezenet1_1@32").source == "torchvision"
