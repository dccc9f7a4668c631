"""The commands on a real network file, from import to a library that runs."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from tests.cli.conftest import Cli, write_plan
from tests.cli.onnx_models import heavy


def test_graph_of_a_network(cli: Cli, network: Path) -> None:
    outcome = cli("graph", network, "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert [operator["macs"] > 0 for operator in outcome.json["operators"]] == [True, False, True, False, False]
    assert outcome.json["outputs"] == [4]
    assert outcome.json["inputs"][0]["shape"] == [1, 4, 16, 16]


def test_saved_graph_and_network_cost_the_same(cli: Cli, network: Path, tmp_path: Path) -> None:
    saved = tmp_path / "graph.json"
    saved.write_text(cli("graph", network, "--json").out)
    plan = write_plan(tmp_path / "plan.json", [0, 1, 2, 3, 4])
    both = [cli("evaluate", net, "--plan", plan, "--json").json for net in (network, saved)]
    assert both[0] == both[1]


def test_compile_by_plan(cli: Cli, network: Path, tmp_path: Path) -> None:
    import onnx.reference
    import tvm
    from tvm import relax

    plan = write_plan(tmp_path / "plan.json", [0, 1], [2, 3, 4])
    library = tmp_path / "net.so"
    outcome = cli("compile", network, "--plan", plan, "-o", library, "--json")
    assert outcome.code == 0, outcome.err
    metadata = json.loads((tmp_path / "net.json").read_text())
    assert metadata == outcome.json
    assert metadata["sha256"] == hashlib.sha256(library.read_bytes()).hexdigest()
    assert [group["operators"] for group in metadata["groups"]] == [[0, 1], [2, 3, 4]]
    assert all(group["dram_bytes"]["total"] > 0 for group in metadata["groups"])
    x = np.random.default_rng(1).standard_normal((1, 4, 16, 16)).astype(np.float32)
    machine = relax.VirtualMachine(tvm.runtime.load_module(str(library)), tvm.cpu())
    result = machine["main"](tvm.runtime.tensor(x))
    found = (result if hasattr(result, "numpy") else result[0]).numpy()
    expected = onnx.reference.ReferenceEvaluator(str(network)).run(None, {"x": x})[0]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_compile_searches_without_a_plan(cli: Cli, network: Path, tmp_path: Path) -> None:
    outcome = cli("compile", network, "-o", tmp_path / "net.so", "--buffer", "64KiB")
    assert outcome.code == 0, outcome.err
    assert "1 groups" in outcome.out
    assert {path.name for path in tmp_path.iterdir()} == {"block.onnx", "net.so", "net.json"}


def test_operator_whose_weights_exceed_the_buffer_runs_layer_by_layer(cli: Cli, tmp_path: Path) -> None:
    net = heavy(tmp_path / "heavy.onnx")
    outcome = cli("plan", net, "--scheme", "lbdf", "--json")
    assert outcome.code == 0, outcome.err
    schemes = {tuple(group["operators"]): group["scheme"] for group in outcome.json["groups"]}
    assert schemes[(0,)] == "layer"
    shown = cli("plan", net, "--scheme", "lbdf").out
    assert f"larger than the buffer: 0 ({outcome.json['groups'][0]['names'][0]})" in shown
    explained = cli("explain", net, "--operators", 0)
    assert explained.code == 0
    assert "weights alone are larger than the buffer" in explained.out
    assert "layer by layer" in explained.out
    name = outcome.json["groups"][0]["names"][0]
    assert name in explained.out
