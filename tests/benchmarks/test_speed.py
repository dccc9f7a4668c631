"""benchmarks/speed.py: arithmetic, tables, resume, bad input, and a small network timed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import speed, speed_tables
from tests.passes.networks import named
from tvm_fusion.errors import FusionError

ROOT = Path(__file__).parent.parent.parent


def script(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks.speed", *map(str, arguments)]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


def method(name: str, median: float, **facts: Any) -> dict[str, Any]:
    times = {"median": median, "first_quartile": median - 1, "third_quartile": median + 2, "least": median - 2}
    return {"method": name, "milliseconds": times, "relative_error": 1e-6, "prepare_seconds": 3.0} | facts


def row(**facts: Any) -> dict[str, Any]:
    ours = method("tvm-fusion", 20.0, groups=5, lowered_groups=4, lowered_operators=9, operators=10)
    broken = {"method": "torch.compile", "problem": "RuntimeError: no compiler"}
    return {
        "network": "net@64", "buffer": "1MiB", "threads": 1, "algorithm": "best", "rounds": 7, "cpu": "znver4",
        "methods": [ours, method("torch", 10.0), broken],
    } | facts  # fmt: skip


def test_median_quartiles_and_least() -> None:
    found = {"median": 3, "first_quartile": 2, "third_quartile": 4, "least": 1}
    assert speed.summary([5.0, 1.0, 4.0, 2.0, 3.0]) == found
    assert set(speed.summary([7.0]).values()) == {7.0}


def test_table_says_how_far_and_what_does_not_run() -> None:
    lines = speed_tables.row_tables(row())
    assert lines[0] == "## net@64, plan for 1MiB, 1 thread: 7 rounds"
    assert "5 groups, 4 of them (9 of 10 operators) in our lowering." in lines
    assert "| tvm-fusion | 20.00 | 19.00 .. 22.00 | 18.00 |  | 1e-06 | 3.0 |" in lines
    assert "| torch | 10.00 | 9.00 .. 12.00 | 8.00 | 2.00 x | 1e-06 | 3.0 |" in lines
    assert "| torch.compile | does not run |  |  |  |  |  |" in lines
    assert "- torch.compile: RuntimeError: no compiler" in lines


def test_table_of_a_profile() -> None:
    facts = {"types": "conv2d relu", "lowered": True, "dram_bytes": 500_000, "macs": 4_000_000}
    rows = [{"function": "fused_group_0", "milliseconds": 2.0, "share": 0.8, **facts},
            {"function": "vm.builtin.reshape", "milliseconds": 0.5, "share": 0.2}]  # fmt: skip
    lines = speed_tables.profile_table(rows)
    assert "| fused_group_0 | 2.00 | 80.0 % | 0.50 | 4.0 | 2.0 | ours | conv2d relu |" in lines
    assert "| vm.builtin.reshape | 0.50 | 20.0 % |  |  |  |  |  |" in lines


def test_only_what_is_missing_is_measured_again(tmp_path: Path) -> None:
    record = speed.opened("net", tmp_path)
    setting = {"buffer": "1MiB", "threads": 1, "algorithm": "best"}
    assert speed.missing_methods(record, setting, ["torch"], profiled=False)
    speed.add(record, row())
    speed.add(record, row(threads=2))
    speed.add(record, row())
    known = speed.opened("net", tmp_path)
    assert [entry["threads"] for entry in known.data["rows"]] == [1, 2]
    assert not speed.missing_methods(known, setting, ["torch", "torch.compile"], profiled=False)
    assert speed.missing_methods(known, setting, ["tvm"], profiled=False)
    assert speed.missing_methods(known, setting, ["torch"], profiled=True)
    assert speed.missing_methods(known, setting | {"buffer": "2MiB"}, ["torch"], profiled=False)


def test_profile_of_a_compiled_plan() -> None:
    from benchmarks.group_profile import profile
    from benchmarks.lowered_plan import at_own_widths, llvm_target, lower_plan, one_operator_a_group
    from tvm_fusion.passes import extract
    from tvm_fusion.passes.compile_plan import build_lowered
    from tvm_fusion.passes.execute import random_inputs

    mod = named("residual")
    graph = extract(mod).graph
    lowered = lower_plan(mod, graph, one_operator_a_group(graph), at_own_widths(10**6))
    executable = build_lowered(lowered.module, llvm_target(""))
    rows = profile(executable, random_inputs(mod), lowered.groups, graph, runs=2)
    groups = {entry["function"]: entry for entry in rows if "macs" in entry}
    assert set(groups) == {f"fused_group_{i}" for i in range(len(graph))}
    assert groups["fused_group_0"]["types"] == graph.operators[0].type
    assert sum(entry["macs"] for entry in groups.values()) == sum(operator.macs for operator in graph.operators)
    assert sum(entry["share"] for entry in rows) == pytest.approx(1, abs=0.01)
    assert rows == sorted(rows, key=lambda entry: -entry["milliseconds"])


def test_more_threads_than_cores_are_refused() -> None:
    speed.check_threads([1])
    with pytest.raises(FusionError, match=r"--threads 1000 is more than the \d+ cores"):
        speed.check_threads([1, 1000])


@pytest.mark.parametrize("options", [
    ["--nets", "magic"], ["--methods", "magic"], ["--threads", "0"], ["--rounds", "0"], ["--buffer", "x"],
    ["--algorithm", "magic"],
])  # fmt: skip
def test_bad_options(options: list[str], tmp_path: Path) -> None:
    threads = [] if "--threads" in options else ["--threads", "1"]
    done = script(*options, *threads, "-o", tmp_path)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1, done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_small_network(tmp_path: Path) -> None:
    methods = "tvm-fusion,tvm,tvm FuseOps,torch,onnxruntime"
    arguments = ("--nets", "lcnet_035@32", "--threads", "1", "--rounds", "2", "--methods", methods, "-o", tmp_path)
    done = script(*arguments, "--profile")
    assert done.returncode == 0, done.stderr
    (found,) = json.loads((tmp_path / "lcnet_035@32.json").read_text())["rows"]
    assert [entry["method"] for entry in found["methods"]] == methods.split(",")
    assert all(entry["relative_error"] < 1e-4 for entry in found["methods"])
    assert found["profile"][0]["milliseconds"] > 0
    assert script(*arguments).stdout == ""
