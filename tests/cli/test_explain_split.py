"""``tvm-fusion explain --explainer`` and ``--repair explained``: what a person is shown, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.conftest import Cli

SMALL = "--buffer=900"  # bytes: the residual block needs more


@pytest.mark.parametrize("explainer", ["occlusion", "random"])
def test_tree_of_the_split(cli: Cli, saved_graph: Path, explainer: str) -> None:
    outcome = cli("explain", saved_graph, "--operators", "0-4", SMALL, "--explainer", explainer)
    assert outcome.code == 0, outcome.err
    assert f"edge scores by {explainer}" in outcome.out
    assert "part 0" in outcome.out
    assert "cut" in outcome.out
    assert "less than its operators one by one" in outcome.out


def test_json_of_the_split(cli: Cli, saved_graph: Path) -> None:
    found = cli("explain", saved_graph, "--operators", "0-4", SMALL, "--explainer", "occlusion", "--json").json
    split = found["split"]
    assert sorted(i for part in split["parts"] for i in part["operators"]) == [0, 1, 2, 3, 4]
    assert split["dram_bytes"] == sum(part["dram_bytes"] for part in split["parts"])
    assert [edge["score"] for edge in split["edges"]] == sorted((e["score"] for e in split["edges"]), reverse=True)
    home = {i: k for k, part in enumerate(split["parts"]) for i in part["operators"]}
    assert all(edge["cut"] == (home[edge["producer"]] != home[edge["consumer"]]) for edge in split["edges"])
    assert any(edge["cut"] for edge in split["edges"])


@pytest.mark.parametrize(("schemes", "note"), [("brr", ""), ("lbdf,brr", "explanations ask the classifier of brr")])
def test_other_schemes_ask_their_classifier(cli: Cli, saved_graph: Path, schemes: str, note: str) -> None:
    pytest.importorskip("torch_geometric")
    arguments = ("explain", saved_graph, "--operators", "0-4", "--buffer=600", "--scheme", schemes)
    outcome = cli(*arguments, "--explainer", "saliency", "--json")
    assert outcome.code == 0, outcome.err
    assert outcome.err.count("\n") == bool(note)
    assert note in outcome.err
    split = outcome.json["split"]
    assert split["buffer_bytes"] == outcome.json["smallest_buffer_bytes"] > 600
    assert {part["scheme"] for part in split["parts"]} <= {*schemes.split(","), "layer"}


def test_group_that_fits_has_nothing_to_explain(cli: Cli, saved_graph: Path) -> None:
    outcome = cli("explain", saved_graph, "--operators", "0-4", "--explainer", "occlusion")
    assert outcome.code == 1
    assert "fits: nothing to explain" in outcome.err
    assert outcome.err.count("\n") == 1


def test_group_of_one_operator(cli: Cli, saved_graph: Path) -> None:
    outcome = cli("explain", saved_graph, "--operators", "0", "--buffer=64", "--explainer", "occlusion")
    assert outcome.code == 1
    assert "single operator 0" in outcome.err


def test_refusals(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    cli("explain", saved_graph, "--operators", "0-4", "--explainer", "magic").refused("'magic'", "occlusion")
    cli("explain", saved_graph, "--operators", "0-4", "--png", tmp_path / "x.png").refused("--explainer")
    cli("explain", saved_graph, "--operators", "0-4", "--scheme", "magic").refused("'magic'", "auto", "lbdf", "brr")
    cli("explain", saved_graph, "--operators", "0-4", "--scheme", "layer").refused("'layer'", "auto", "lbdf", "brr")
    streams = ("explain", saved_graph, "--operators", "0-4", "--scheme", "channel-streaming", "--buffer=600")
    cli(*streams, "--explainer", "saliency").refused("no classifier", "channel-streaming", "brr, lbdf", "occlusion")
    plan = ("plan", saved_graph, "--algorithm", "local-search")
    cli(*plan, "--repair", "magic").refused("'magic'", "explained")
    cli(*plan, "--repair", "explained", "--explainer", "magic").refused("'magic'", "rgexplainer")
    out = tmp_path / "none" / "x.svg"
    cli("explain", saved_graph, "--operators", "0-4", "--explainer", "random", "--svg", out).refused("does not exist")


@pytest.mark.skipif(shutil.which("dot") is None, reason="needs Graphviz")
def test_drawings(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    pytest.importorskip("graphviz")
    png, svg = tmp_path / "why.png", tmp_path / "why.svg"
    arguments = ("explain", saved_graph, "--operators", "0-4", SMALL, "--explainer", "occlusion")
    assert cli(*arguments, "--png", png, "--svg", svg).code == 0
    assert png.read_bytes().startswith(b"\x89PNG")
    text = svg.read_text()
    assert "part 0" in text
    assert "stroke-dasharray" in text


def test_drawing_without_graphviz_is_one_line(saved_graph: Path, tmp_path: Path) -> None:
    code = "import sys; sys.modules['graphviz'] = None; from tvm_fusion.cli.main import main; main()"
    arguments = ["explain", str(saved_graph), "--operators", "0-4", SMALL, "--explainer", "occlusion"]
    command = [sys.executable, "-c", code, *arguments, "--png", str(tmp_path / "x.png")]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "tvm-fusion[plot]" in done.stderr
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.glob("*.png")) == []


@pytest.mark.parametrize("name", ["gnnexplainer", "pgexplainer", "rgexplainer", "saliency"])
def test_without_torch_an_explainer_that_needs_it_says_so(saved_graph: Path, name: str) -> None:
    code = "import sys; sys.modules['torch'] = None; from tvm_fusion.cli.main import main; main()"
    arguments = ["plan", str(saved_graph), "--algorithm", "random-search", "--repair", "explained", "--explainer", name]
    done = subprocess.run([sys.executable, "-c", code, *arguments], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "tvm-fusion[zoo]" in done.stderr
    assert done.stderr.count("\n") == 1


def test_plan_reports_its_repairs(cli: Cli, saved_graph: Path) -> None:
    arguments = ("plan", saved_graph, "--algorithm", "random-search", "--budget", 30, "--buffer", "900")
    explained = cli(*arguments, "--repair", "explained", "--explainer", "occlusion", "--json").json
    assert explained["repair"] == "explained"
    assert explained["explainer"] == "occlusion"
    repairs = explained["repairs"]
    assert 0 <= repairs["rectified"] <= repairs["invalid_groups"]
    assert repairs["rectify_rate"] == repairs["rectified"] / repairs["invalid_groups"]
    assert set(repairs["seconds"]) == {"search", "oracle", "explainer", "classifier"}
    assert all(seconds >= 0 for seconds in repairs["seconds"].values())
    at_random = cli(*arguments, "--json").json["repairs"]
    assert at_random["repair"] == "random"
    assert at_random["invalid_groups"] == at_random["split_at_random"] > 0
    text = cli(*arguments, "--repair", "explained", "--explainer", "occlusion").out
    assert "occlusion alone rectified" in text
