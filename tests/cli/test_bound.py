"""``tvm-fusion plan`` says how far from the optimum a plan may be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.search.networks import parallel_chains
from tvm_fusion.graph import graph_to_json


@pytest.fixture
def chains(tmp_path: Path) -> Path:
    """Three chains of four convolutions: few ideals, but some searches miss the optimum."""
    path = tmp_path / "chains.json"
    path.write_text(json.dumps(graph_to_json(parallel_chains(3, 4))))
    return path


POOR = ("--buffer", 2000, "--scheme", "lbdf", "--algorithm", "random-search", "--budget", 1)


def test_the_optimum_is_its_own_bound(cli: Cli, chains: Path) -> None:
    best = cli("plan", chains, "--buffer", 2000, "--scheme", "lbdf", "--algorithm", "exact", "--json").json
    assert best["lower_bound_dram_bytes"] == best["totals"]["network_dram_bytes"]
    assert best["bound_certificate"]["method"] == "shortest path over the lattice of ideals"


def test_the_bound_is_shown_and_saved(cli: Cli, chains: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    shown = cli("plan", chains, *POOR, "--bound-seconds", 0.001, "-o", path)
    assert shown.code == 0
    saved = json.loads(path.read_text())
    least, moved = saved["lower_bound_dram_bytes"], saved["totals"]["network_dram_bytes"]
    assert not saved["optimal"]
    assert saved["bound_certificate"]["lower_bound_bytes"] == least < moved
    assert saved["bound_certificate"]["sweeps"] == 0
    percent = -(-10_000 * (moved - least) // least) / 100
    assert (
        f"at most {percent:.2f} % above the optimum of its schemes (no plan moves less than {least} bytes" in shown.out
    )


def test_groups_of_the_bound_make_a_better_plan(cli: Cli, chains: Path, tmp_path: Path) -> None:
    before = cli("plan", chains, *POOR, "--bound-seconds", 0, "--json").json["totals"]["network_dram_bytes"]
    path = tmp_path / "plan.json"
    assert "proven optimal" in cli("plan", chains, *POOR, "-o", path).out
    saved = json.loads(path.read_text())
    assert saved["totals"]["network_dram_bytes"] == saved["lower_bound_dram_bytes"] < before
    again = cli("evaluate", chains, "--plan", path, "--json").json
    assert again["totals"] == saved["totals"]


def test_without_a_bound_the_compulsory_traffic(cli: Cli, chains: Path) -> None:
    outcome = cli("plan", chains, *POOR, "--bound-seconds", 0)
    assert f"{cli('plan', chains, *POOR, '--json').json['totals']['compulsory_dram_bytes']} bytes, the compulsory" in (
        outcome.out
    )
    assert cli("plan", chains, *POOR, "--bound-seconds", 0, "--json").json["bound_certificate"] == {}


def test_a_bound_that_is_reached_proves_the_plan(cli: Cli, chains: Path) -> None:
    found = ("plan", chains, "--buffer", 2000, "--scheme", "lbdf", "--algorithm", "interval-dp")
    assert "at most" in cli(*found, "--bound-seconds", 0).out
    assert "proven optimal" in cli(*found, "--bound-seconds", 60).out
    proven = cli(*found, "--bound-seconds", 60, "--json").json
    assert proven["optimal"]
    assert proven["certificate"] == proven["bound_certificate"]


def test_another_objective_is_not_bounded(cli: Cli, chains: Path) -> None:
    assert "not proven optimal" in cli("plan", chains, *POOR, "--objective", "energy").out


@pytest.mark.parametrize("seconds", ["-1", "soon", "nan", ""])
def test_bad_seconds(cli: Cli, chains: Path, seconds: str) -> None:
    cli("plan", chains, f"--bound-seconds={seconds}").refused("--bound-seconds", repr(seconds))
