"""Quality of explanations, and graphs with too many ideals: the benchmarks on small cases."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import explanations, many_ideals
from tests.cli.onnx_models import convnet
from tests.search.networks import efficientnet_b3
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import NoAnswerError, SearchError
from tvm_fusion.explainers.registry import make_explainer
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.check import check_graph
from tvm_fusion.search import search
from tvm_fusion.search.problem import FusionProblem

ROOT = Path(__file__).parent.parent.parent


def problem(buffer_bytes: int) -> FusionProblem:
    graph = efficientnet_b3(stages=2)
    return FusionProblem(graph, Oracle(graph, Accelerator(buffer_bytes=buffer_bytes)))


def test_invalid_groups_are_invalid_distinct_and_repeatable() -> None:
    small = problem(64 * 1024)
    masks = explanations.invalid_groups(small, 30, seed=1)
    assert len(set(masks)) == len(masks) == 30
    assert not any(map(small.valid, masks))
    assert masks == explanations.invalid_groups(small, 30, seed=1)
    with pytest.raises(NoAnswerError, match="nothing to explain"):
        explanations.invalid_groups(problem(10**9), 5, seed=0)


@pytest.mark.parametrize("name", ["random", "occlusion", "saliency", "pgexplainer"])
def test_quality_of_an_explainer(name: str) -> None:
    if name not in ("random", "occlusion"):
        pytest.importorskip("torch_geometric")
    small = problem(64 * 1024)
    masks = explanations.invalid_groups(small, 20, seed=0)
    found = explanations.quality(small, make_explainer(name, small.oracle), masks)
    assert found["groups"] == 20
    assert 0 <= found["top1_rate"] <= found["top3_rate"] <= found["repairable_rate"] <= 1
    assert 0 <= found["tree_rate"] <= 1
    assert ("fidelity_plus" in found) == (name in ("saliency", "pgexplainer"))
    if name == "occlusion" and found["repairable_rate"]:
        assert found["top1_rate"] == found["repairable_rate"]  # it asks the truth itself


def test_explanations_resume(tmp_path: Path) -> None:
    net = convnet(tmp_path / "net.onnx")
    script = [sys.executable, "-m", "benchmarks.explanations", "--nets", str(net), "--buffer", "700"]
    script += ["--groups", "3", "-o", str(tmp_path)]
    options = {"capture_output": True, "text": True, "cwd": ROOT}
    first = subprocess.run([*script, "--explainers", "random"], check=False, **options)
    assert first.returncode == 0, first.stderr
    second = subprocess.run([*script, "--explainers", "random,occlusion"], check=False, **options)
    assert second.returncode == 0, second.stderr
    assert second.stdout.count("\n") == 1
    rows = json.loads((tmp_path / "explanations.json").read_text())["rows"]
    assert [row["explainer"] for row in rows] == ["random", "occlusion"]
    page = subprocess.run([*script, "--markdown"], check=False, **options).stdout
    assert "| random |" in page
    assert "% repairable" in page


def test_explanations_of_groups_that_are_invalid_in_brr(tmp_path: Path) -> None:
    graph = efficientnet_b3(stages=1)
    (lines, bands) = (
        explanations.measure(graph, "64KiB", "occlusion", 8, 0, scheme, "paper") for scheme in ("lbdf", "brr")
    )
    assert bands["groups"] == 8
    assert bands["top1_rate"] == bands["repairable_rate"]
    assert {**bands, "milliseconds_per_group": 0} != {**lines, "milliseconds_per_group": 0}


def test_randomly_wired_network_has_too_many_ideals_and_is_sound() -> None:
    graph = many_ideals.randomly_wired(nodes=16, height=32)
    check_graph(graph)
    assert graph == many_ideals.randomly_wired(nodes=16, height=32)
    assert graph.is_connected((1 << len(graph)) - 1)
    assert len(graph.outputs) == 1
    assert many_ideals.randomly_wired(1, nodes=16, height=32) != graph
    large: OperatorGraph = many_ideals.randomly_wired()
    with pytest.raises(SearchError, match="too many for 'exact'"):
        search(large, Oracle(large, Accelerator()), "exact")


@pytest.mark.slow
def test_equal_seconds_and_resume(tmp_path: Path) -> None:
    pytest.importorskip("torch_geometric")
    net = convnet(tmp_path / "net.onnx")
    script = [sys.executable, str(ROOT / "benchmarks" / "many_ideals.py"), "--nets", str(net), "--buffer", "700"]
    script += ["--seconds", "1", "--seeds", "0", "-o", str(tmp_path)]
    done = subprocess.run(script, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    rows = json.loads((tmp_path / "many_ideals.json").read_text())["rows"]
    assert {(row["algorithm"], row["repair"]) for row in rows} == set(many_ideals.METHODS)
    assert all(row["seconds"] < 5 for row in rows)
    again = subprocess.run(script, check=False, capture_output=True, text=True)
    assert again.stdout == ""


@pytest.mark.parametrize(("script", "options"), [
    ("explanations", ["--explainers", "magic"]), ("explanations", ["--groups", "0"]),
    ("explanations", ["--buffer", "x"]),
    ("many_ideals", ["--seeds", "x"]), ("many_ideals", ["--seconds", "0"]), ("many_ideals", ["--buffer", "0"]),
])  # fmt: skip
def test_bad_options(script: str, options: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-m", f"benchmarks.{script}", *options, "-o", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
