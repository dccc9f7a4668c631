"""benchmarks/lowered.py and lowered_operators.py: rows of small networks, resume, refusals, the page, bad input."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tvm import tirx

from benchmarks import lowered, lowered_operators, lowered_tables
from benchmarks.lowered_plan import at_own_widths, lower_plan, one_operator_a_group
from tests.cli.onnx_models import convnet
from tests.passes.networks import named, whole
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.passes import extract

ROOT = Path(__file__).parent.parent.parent


def script(name: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", f"benchmarks.{name}", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def row(**facts: Any) -> dict[str, Any]:
    """A row of a network with ten operators in three groups, one of which is left to TVM."""
    return {
        "network": "net", "buffer": "1MiB", "image": None, "operators": 10, "groups": 3, "lbdf_groups": 3,
        "lowered_groups": 2, "fusable_operators": 10, "lowered_operators": 8, "bytes_equal": True, "mismatch": "",
        "network_dram_bytes": 1_000_000, "unfused_dram_bytes": 3_000_000, "largest_relative_error": 2e-6,
        "seconds": {"search": 1.0, "lower": 2.0, "compile": 3.0, "compile_unfused": 4.0},
        "refused": [{"operator": "lv7", "type": "topk", "reason": "no single function", "operators": 2}],
    } | facts  # fmt: skip


def test_small_networks_are_measured_once(tmp_path: Path) -> None:
    good = convnet(tmp_path / "good.onnx")
    bad = tmp_path / "bad.onnx"
    bad.write_text("no network")
    arguments = ("--nets", f"{good},{bad}", "--buffers", "2KiB,4KiB", "-o", tmp_path / "out")
    first = script("lowered", *arguments)
    assert first.returncode == 1  # for the bad one
    assert first.stdout.count("\n") == 4
    rows = json.loads((tmp_path / "out" / "good.onnx.json").read_text())["rows"]
    assert [entry["buffer"] for entry in rows] == ["2KiB", "4KiB"]
    for entry in rows:
        assert entry["bytes_equal"]
        assert entry["largest_relative_error"] < 1e-4
        assert entry["lowered_groups"] == entry["lbdf_groups"] >= 1
        assert entry["lowered_operators"] == entry["fusable_operators"]
        assert entry["commit"]
    failed = json.loads((tmp_path / "out" / "bad.onnx.json").read_text())["rows"]
    assert all(entry["problem"].startswith("FrontendError: ") and not entry["traceback"] for entry in failed)
    assert script("lowered", *arguments).stdout == ""
    assert script("lowered", "--nets", good, "--buffers", "2KiB", "-o", tmp_path / "out").returncode == 0
    page = script("lowered", "--markdown", "-o", tmp_path / "out").stdout
    assert "| good | 2KiB |" in page
    assert f"- {bad}, 4KiB: FrontendError: " in page


def test_a_refused_operator_is_named_with_its_reason() -> None:
    mod = named("tuple of an operator")
    graph = extract(mod).graph
    (group,) = [found for found in lower_plan(mod, graph, whole(graph), at_own_widths(10**9)).groups if found.reason]
    assert (group.lowered, group.refused_operator) == (False, "lv")
    assert group.reason.startswith("TVM makes no single TIR function of")
    counted = lowered_operators.count(mod, graph)
    assert sum(found["met"] for found in counted["types"].values()) == counted["operators"] == len(graph)
    refused = {kind: found["reasons"] for kind, found in counted["types"].items() if found["reasons"]}
    assert list(refused) == [graph.operators[group.operators[0]].type]
    assert all(found["met"] == found["lowered"] + found["reasons"].total() for found in counted["types"].values())


def test_groups_come_with_the_costs_of_the_model() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    found = lower_plan(mod, graph, one_operator_a_group(graph), at_own_widths(10**9))
    assert found.mismatch == ""
    assert [group.operators for group in found.groups] == [(i,) for i in range(len(graph))]
    assert all(group.lowered for group in found.groups)
    assert sum(group.macs for group in found.groups) == sum(operator.macs for operator in graph.operators)
    assert found.groups[0].dram_bytes == 2 * 4 * 8 * 8 * 4 + graph.operators[0].weight_elements * 4


def test_a_layer_is_ours_where_its_function_is_tir() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    found = lower_plan(mod, graph, one_operator_a_group(graph), at_own_widths(64))
    assert {group.scheme for group in found.groups} == {"layer"}
    assert [group.lowered for group in found.groups] == [
        isinstance(found.module[f"fused_group_{i}"], tirx.PrimFunc) for i in range(len(graph))
    ]
    made = {graph.operators[group.operators[0]].type: group.lowered for group in found.groups}
    assert made == {"conv2d": True, "relu": True, "add": True}
    assert not any(group.reason for group in found.groups)


def test_tables_of_networks_and_refusals() -> None:
    text = "\n".join(lowered_tables.networks_table([row(), row(buffer="2MiB", steps=[0.0, 0.5, 1.0])]))
    assert "| net | 1MiB | 3 | 3 | 2 | 10 | 8 | 80.0 % | equal | 2e-06 |  | 1.00 | 3.00 | 2 | 3 | 4 |" in text
    assert "| 0 / 0.5 / 1 |" in text
    apart = {"steps": [0.0, 1.0, 9.0], "steps_of_runtime": [0.0, 2.0, 5.0], "operator_steps": 1}
    text = "\n".join(lowered_tables.networks_table([row(**apart, operator_elements_apart=2e-5)]))
    assert "| net | 0 / 1 / 9 | 0 / 2 / 5 | 1 | 2e-05 |" in text
    assert "Together 66.7 % of the LBDF groups and 80.0 % of their operators" in text
    text = "\n".join(lowered_tables.networks_table([row(mismatch="2 bytes off", bytes_equal=False)]))
    assert "| differ |" in text
    assert "- net, 1MiB: 2 bytes off" in text
    assert "| no single function | topk | 2 | 4 | net |" in lowered_tables.refusals_table([row(), row()])
    assert "None." in lowered_tables.refusals_table([row(refused=[])])


def test_operators_by_type_over_networks() -> None:
    types = {"relu": {"met": 3, "lowered": 3, "reasons": {}}, "topk": {"met": 1, "lowered": 0, "reasons": {"why": 1}}}
    rows = [{"network": name, "types": types, "mismatch": ""} for name in "ab"]
    lines = lowered_tables.operators_section([*rows, {"network": "c", "problem": "Error: no"}])
    assert "| relu | 6 | 6 |  |" in lines
    assert "| topk | 2 | 0 | why (2) |" in lines
    assert "6 of them, 75.0 %, go row by row." in lines
    assert "- c: Error: no" in lines


def test_input_size_is_for_names_without_one() -> None:
    assert lowered.size_for("resnet18", 64) == lowered.size_for("resnet18+int8", 64) == 64
    assert lowered.size_for("resnet18@32", 64) is lowered.size_for("light_squeezenet.onnx", 64) is None


def test_verdicts() -> None:
    assert lowered.passed(row())
    assert not lowered.passed(row(bytes_equal=False))
    assert not lowered.passed(row(largest_relative_error=2e-4))
    assert not lowered.passed(row(largest_relative_error=float("nan")))
    assert not lowered.passed({"network": "net", "buffer": "1MiB", "problem": "Error: no"})


def test_nothing_recorded(tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match="no results in"):
        lowered_tables.page(tmp_path)


@pytest.mark.parametrize(("name", "arguments"), [
    ("lowered", ["--nets", "magic"]), ("lowered", ["--nets", "none.onnx"]), ("lowered", ["--buffers", "x"]),
    ("lowered", ["--image", "0"]), ("lowered", ["--algorithm", "magic"]), ("lowered_operators", ["--only", "magic"]),
])  # fmt: skip
def test_bad_options(name: str, arguments: list[str], tmp_path: Path) -> None:
    done = script(name, *arguments, "-o", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_quantised_network(tmp_path: Path) -> None:
    done = script("lowered", "--nets", "resnet18+int8", "--image", 32, "--buffers", "256KiB", "-o", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = json.loads((tmp_path / "resnet18_int8.json").read_text())["rows"]
    assert found["network"] == "resnet18@32+int8"
    assert found["largest_relative_error"] == 0
    assert found["steps"][1] < 1.01
    assert found["operator_steps"] <= 1
    assert found["operator_elements_apart"] < 1e-4
