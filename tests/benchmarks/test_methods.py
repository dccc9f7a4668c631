"""The benchmark of all methods: what it runs, resumes and prints."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import methods, methods_tables
from benchmarks.methods_known import FILE, Elsewhere, Known
from benchmarks.methods_lines import percent, proof_text
from benchmarks.methods_runs import Case, kind
from tests.graphs import chain, residual_block
from tests.search.networks import parallel_chains
from tvm_fusion.errors import FusionError, NoAnswerError, SearchError
from tvm_fusion.graph import graph_to_json


def run(net: Path, folder: Path, **changes: object) -> None:
    how: dict[str, object] = {"names": "networks,zoo", "buffer": "2000", "budget": 20, "repairs": "random"}
    how |= {"seeds": "0", "again": False, "output": folder, "markdown": False} | changes
    assert methods.main(nets=str(net), **how) == 0  # type: ignore[arg-type]


@pytest.fixture
def net(tmp_path: Path) -> Path:
    path = tmp_path / "chains.json"
    path.write_text(json.dumps(graph_to_json(parallel_chains(3, 4))))
    return path


def test_measures_what_is_missing_and_prints_it(net: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "results"
    run(net, folder, names="networks")
    assert capsys.readouterr().out.count("\n") == 9  # no FuseOps: a saved graph has no module
    run(net, folder, names="networks", seeds="0,1")
    assert capsys.readouterr().out.count("\n") == 3
    rows = json.loads((folder / FILE).read_text())["rows"]
    moved = {row["method"]: row["network_dram_bytes"] for row in rows}
    assert moved["exact"] == min(moved.values()) < moved["unfused"]
    lines = methods_tables.page(folder, Elsewhere(tmp_path, tmp_path, tmp_path))
    assert "| exact | 0.00 | 0.00 | 0.00 |" in "\n".join(lines)
    above = 100 * (moved["unfused"] / moved["exact"] - 1)
    assert any(line.startswith(f"| unfused | {above:.2f} |") for line in lines)


def test_distance_is_from_the_best_of_all_records() -> None:
    case = Case("n", "1KiB")
    fields = {"network": "n", "buffer": "1KiB", "schemes": "lbdf", "accelerator": "edge"}
    run = {"method": "local-search", "repair": "random", "budget_plans": 5}
    rows = [fields | run | {"seed": seed, "network_dram_bytes": moved} for seed, moved in ((0, 110), (1, 130))]
    found = Known(rows, proofs=[fields | {"network_dram_bytes": 100, "lower_bound_bytes": 80}])
    assert found.above(case, found.found(case, "local-search", "random", 5)) == pytest.approx(20)
    assert found.found(case, "local-search", "random", 6) == []
    assert proof_text(found, case) == "at most 25.00 % above"


def test_kinds_of_graphs() -> None:
    assert kind(chain(3), 4) == "chain"
    assert kind(residual_block(), len(residual_block()) + 1) == "skips"
    assert kind(chain(3), 6) == "branches"
    assert kind(chain(3), None) == "many paths"


def test_little_does_not_look_like_nothing() -> None:
    assert [percent(value) for value in (0.0, 0.001, 0.005, 1.0)] == ["0.00", "< 0.01", "0.01", "1.00"]


def test_refusals(net: Path, tmp_path: Path) -> None:
    with pytest.raises(NoAnswerError, match=r"run benchmarks\.methods first"):
        methods_tables.page(tmp_path)
    with pytest.raises(FusionError, match=r"table 'magic' is not known; allowed: networks, brr, zoo, auto"):
        run(net, tmp_path, names="magic")
    with pytest.raises(FusionError, match="magic"):
        run(net, tmp_path, repairs="magic")
    with pytest.raises(SearchError, match="--seeds"):
        run(net, tmp_path, seeds="x")
    with pytest.raises(FusionError, match="lots"):
        run(net, tmp_path, buffer="lots")
