"""The benchmark of the distance to the optimum: what it measures, resumes and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import optimality
from tests.search.networks import parallel_chains
from tvm_fusion.errors import NoAnswerError, SchemeError, SearchError
from tvm_fusion.graph import graph_to_json


def run(net: Path, folder: Path, **changes: object) -> None:
    how: dict[str, object] = {"buffers": "2000", "schemes": None, "budget": 20, "seeds": "0", "bound_seconds": 30}
    how |= {"again": False, "output": folder, "table": False} | changes
    assert optimality.main(str(net), **how) == 0  # type: ignore[arg-type]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "chains.json"
    path.write_text(json.dumps(graph_to_json(parallel_chains(3, 4))))
    return path


def test_measures_what_is_missing_and_prints_it(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    run(net, folder)
    assert "optimal" in capsys.readouterr().out
    run(net, folder, buffers="2000,1500")
    assert capsys.readouterr().out.count("\n") == 1
    rows = json.loads((folder / optimality.FILE).read_text())["rows"]
    assert [row["buffer"] for row in rows] == ["2000", "1500"]
    assert all(row["lower_bound_bytes"] <= row["network_dram_bytes"] for row in rows)
    lines = optimality.page(folder)
    assert "## lbdf" in lines
    table = [line for line in lines if line.startswith(f"| {net}")]
    assert ["1500" in line for line in table] == [True, False]


def test_says_how_far_where_nothing_is_proven(tmp_path: Path) -> None:
    row = {
        "network": "n", "buffer": "1KiB", "schemes": "lbdf", "operators": 3, "network_dram_bytes": 2_020_000,
        "lower_bound_bytes": 2_000_000, "unfused_dram_bytes": 4_000_000, "compulsory_dram_bytes": 1_000_000,
        "optimal": False, "search_seconds": 1.2, "bound_seconds": 3.4,
    }  # fmt: skip
    environment = {"processor": "p", "cores": 2, "python": "3", "versions": {"a": "1"}}
    (tmp_path / optimality.FILE).write_text(json.dumps({"rows": [row], "environment": environment}))
    assert "| n | 1KiB | 3 | 4.000 | 2.020 | 2.000 | 1.00 % | 1 | 3 | 1.000 |" in optimality.page(tmp_path)


def test_refusals(net: Path, tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match=r"run benchmarks\.optimality first"):
        optimality.page(tmp_path)
    with pytest.raises(SchemeError, match="magic"):
        run(net, tmp_path, schemes=["magic"])
    with pytest.raises(SearchError, match="--seeds"):
        run(net, tmp_path, seeds="x")
