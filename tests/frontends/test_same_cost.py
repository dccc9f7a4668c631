"""One network as a torch model and as an ONNX file: the same operators, the same costs."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

from tvm_fusion import Oracle, evaluate_plan, load_accelerator, load_graph, search_plan
from tvm_fusion.frontends.model_name import find_model, parse_name
from tvm_fusion.graph.graph import OperatorGraph

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("torchvision")


def built(spec: str) -> tuple[Any, Any]:
    """A model with statistics and biases that no exporter can optimise away, and its example input."""
    _, name, size = parse_name(spec)
    torch.manual_seed(0)
    model = find_model(None, name)[1].build(size).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(0.1, 0.5)
            module.running_var.uniform_(0.5, 1.5)
    for parameter in model.parameters():
        if parameter.ndim == 1 and not parameter.any():
            parameter.data.uniform_(0.1, 0.2)
    return model, torch.zeros(1, 3, size, size)


def as_onnx(spec: str, path: Path, dynamo: bool) -> Path:
    """Written by torch's exporter: the one on torch.export, or the older one on tracing."""
    if dynamo:
        pytest.importorskip("onnxscript")
    model, example = built(spec)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example,), str(path), dynamo=dynamo, verbose=False)
    return path


def costs(graph: OperatorGraph) -> tuple[int, int, int]:
    """DRAM bytes of the best plan, of the unfused network, and the least that any plan moves."""
    oracle = Oracle(graph, load_accelerator("edge"))
    found = search_plan(graph, oracle, algorithm="exact")
    assert found.optimal
    evaluation = evaluate_plan(graph, found.plan, oracle)
    return evaluation.network_dram_bytes, evaluation.unfused_dram_bytes, evaluation.compulsory_dram_bytes


def work(graph: OperatorGraph) -> list[tuple[Any, ...]]:
    """What every operator makes and costs, whatever its name: a hard sigmoid may have its scale in a convolution."""
    return sorted((o.shape, o.dtype, o.pointwise, o.weight_elements, o.macs) for o in graph.operators)


def check(spec: str, path: Path, dynamo: bool) -> None:
    from_torch, from_onnx = load_graph(spec), load_graph(as_onnx(spec, path, dynamo))
    assert costs(from_onnx) == costs(from_torch)
    assert work(from_onnx) == work(from_torch)
    assert not from_torch.warnings + from_onnx.warnings


def test_small_network(tmp_path: Path) -> None:
    check("lcnet_035@32", tmp_path / "net.onnx", dynamo=False)


@pytest.mark.slow
@pytest.mark.parametrize("dynamo", [False, True], ids=["traced", "dynamo"])
@pytest.mark.parametrize(
    "spec",
    [
        "resnet18@64",
        "mobilenetv2_100@64",
        "squeezenet1_1@64",
        "efficientnet_b0@64",
        "mobilenetv3_small_100@64",
        "shufflenet_v2_x0_5@64",
    ],
)
def test_known_networks(tmp_path: Path, spec: str, dynamo: bool) -> None:
    check(spec, tmp_path / "net.onnx", dynamo)
