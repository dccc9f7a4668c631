"""The benchmarks are imported and their parts tried, so that they cannot rot."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import oracle_throughput, run, zoo
from tests.graphs import chain, residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, output_folder, read_record

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("name", ["run", "zoo", "oracle_throughput"])
def test_help(name: str) -> None:
    script = ROOT / "benchmarks" / f"{name}.py"
    subprocess.run([sys.executable, str(script), "--help"], check=True, capture_output=True)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("run", ["--buffer", "256KiBB"]),
        ("run", ["--algorithms", "magic"]),
        ("run", ["--seeds", "x"]),
        ("run", ["--budget", "0"]),
        ("run", ["-o", "/proc/none"]),
        ("zoo", ["--only", "magic"]),
        ("zoo", ["--algorithm", "magic"]),
        ("oracle_throughput", ["--groups", "0"]),
    ],
)
def test_bad_options(name: str, arguments: list[str], tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / f"{name}.py"
    command = [sys.executable, str(script), *arguments]
    if "-o" not in arguments:
        command += ["-o", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_groups_that_do_not_fit_run_operator_by_operator() -> None:
    oracle = Oracle(chain(3), Accelerator(buffer_bytes=500))
    assert not oracle.evaluate(0b011)[0]
    assert run.repaired(oracle, [0b011, 0b100]) == [0b001, 0b010, 0b100]


def test_random_groups_are_connected_distinct_and_repeatable() -> None:
    graph = residual_block(4)
    groups = oracle_throughput.random_groups(graph, 20, 6, seed=1)
    assert groups == oracle_throughput.random_groups(graph, 20, 6, seed=1)
    assert len(set(groups)) == len(groups) == 20
    assert all(graph.is_connected(mask) and mask & (mask - 1) for mask in groups)


def test_throughput_figures() -> None:
    graph = residual_block()
    groups = oracle_throughput.random_groups(graph, 8, 4, seed=0)
    figures = oracle_throughput.measure(graph, Accelerator(), groups, groups[:3])
    assert all(value > 0 for value in figures.values())


def test_zoo_has_25_architectures_and_the_nine_light_graphs() -> None:
    families = [family for family, _ in zoo.networks().values()]
    assert len(families) - families.count("ONNX") >= 25
    assert families.count("ONNX") == 9
    assert set(families) == {*zoo.FAMILIES, "ONNX"}
    assert all(Path(zoo.light_path(name)).is_file() for name in zoo.LIGHT_ONNX)


def test_zoo_table_says_what_failed() -> None:
    good = {"family": "CNN", "operators": 3, "groups": 1, "failed_stage": "", "largest_relative_error": 1e-7}
    good |= {"unfused_dram_bytes": 2_000_000, "network_dram_bytes": 1_000_000}
    bad = {"family": "CNN", "failed_stage": "graph", "problem": "FrontendError: no"}
    text = zoo.markdown({"a": good, "b": bad})
    assert text.startswith("1 of 2 networks")
    assert "| a | CNN | 3 | 1 | 2.00 | 1.00 | 1.0e-07 |" in text
    assert "- b, graph: FrontendError: no" in text


def test_zoo_resumes_and_refuses_a_corrupted_result(tmp_path: Path) -> None:
    done = {"family": "CNN", "failed_stage": "", "largest_relative_error": 0.0, "done": True, "buffer": "256KiB"}
    (tmp_path / "resnet18@64.json").write_text(json.dumps(done))
    command = [sys.executable, str(ROOT / "benchmarks" / "zoo.py"), "--only", "resnet18@64", "-o", str(tmp_path)]
    assert subprocess.run(command, check=False, capture_output=True).returncode == 0
    assert "1 of 1" in (tmp_path / "zoo.md").read_text()
    (tmp_path / "resnet18@64.json").write_text('{"family": ')
    refused = subprocess.run(command, check=False, capture_output=True, text=True)
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert "corrupted" in refused.stderr


@pytest.mark.slow
def test_zoo_on_one_network(tmp_path: Path) -> None:
    name = "squeezenet1_1@64"
    command = [sys.executable, str(ROOT / "benchmarks" / "zoo.py"), "--only", name, "-o", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / f"{name}.json").read_text())["largest_relative_error"] < 1e-4


def test_record_is_whole_after_every_step(tmp_path: Path) -> None:
    record = Record(tmp_path / "r.json", network="n")
    record.add(a=1)
    record.append("rows", {"b": 2})
    data = read_record(tmp_path / "r.json")
    assert data is not None
    assert (data["network"], data["a"], data["rows"]) == ("n", 1, [{"b": 2}])
    assert data["environment"]["cores"] >= 1
    assert data["environment"]["python"]
    assert read_record(tmp_path / "none.json") is None
    assert [path.name for path in tmp_path.iterdir()] == ["r.json"]


def test_output_folder_names(tmp_path: Path) -> None:
    assert output_folder(None, tmp_path, "some/where/a net.onnx") == tmp_path / "a_net.onnx"
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionError, match="cannot make output folder"):
        output_folder(tmp_path / "file" / "below", tmp_path, "x")
