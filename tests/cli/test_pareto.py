"""``tvm-fusion pareto``: a table, JSON whose plans can be evaluated, and a picture."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


@pytest.mark.parametrize("against", ["buffer", "macs", "energy", "cycles"])
def test_plans_of_a_front_are_what_it_says(cli: Cli, saved_graph: Path, tmp_path: Path, against: str) -> None:
    output = tmp_path / "front.json"
    arguments = ("--against", against, "--buffer", "1KiB", "--buffers", "500,1KiB,64KiB", "-o", output)
    found = cli("pareto", saved_graph, *arguments, "--json")
    assert found.code == 0, found.err
    assert found.json == json.loads(output.read_text())
    assert found.json["points"]
    for point in found.json["points"]:
        plan = tmp_path / "plan.json"
        plan.write_text(json.dumps(point["plan"]))
        evaluated = cli("evaluate", saved_graph, "--plan", plan, "--buffer", "64KiB", "--json").json
        assert evaluated["totals"]["network_dram_bytes"] == point["dram_bytes"]
        assert against != "macs" or evaluated["totals"]["recomputed_macs"] == point["macs"]


def test_table_and_picture(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    found = cli("pareto", saved_graph, "--against", "buffer", "--buffers", "500,1KiB", "--png", picture)
    assert found.code == 0, found.err
    assert "DRAM bytes against largest requirement" in found.out
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_bad_input(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    cli("pareto", saved_graph, "--against", "magic").refused("'magic'", "buffer", "macs", "energy", "cycles")
    cli("pareto", saved_graph, "--against", "buffer", "--buffers", "much").refused("much")
    cli("pareto", saved_graph, "--points", "1").refused("--points 1", "2")
    cli("pareto", saved_graph, "--png", tmp_path / "no" / "front.png").refused("no")
