"""Files and options that no person would write: still one line, exit code 2."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Cli, write_plan

HUGE = "9" * 400
MONSTROUS = "9" * 5000
DEEP = "[" * 100_000


@pytest.mark.parametrize(
    "text",
    [
        DEEP,
        f'{{"groups": [{{"operators": [{MONSTROUS}]}}]}}',
        f'{{"accelerator": {{"clock_hz": {HUGE}}}, "groups": [{{"operators": [0, 1, 2, 3, 4]}}]}}',
        f'{{"accelerator": {{"buffer_bytes": "{HUGE}KiB"}}, "groups": [{{"operators": [0, 1, 2, 3, 4]}}]}}',
        '{"accelerator": {"dram_bytes_per_second": 5e-324}, "groups": [{"operators": [0, 1, 2, 3, 4]}]}',
        '{"schema_version": true, "groups": [{"operators": [0, 1, 2, 3, 4]}]}',
        '{"schema_version": 1.0, "groups": [{"operators": [0, 1, 2, 3, 4]}]}',
    ],
    ids=range(7),
)
def test_plans(cli: Cli, saved_graph: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(text)
    cli("evaluate", saved_graph, "--plan", path).refused()


def test_scheme_of_a_group_is_honoured_or_refused(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "p.json"

    def evaluated(scheme: str) -> Any:
        groups = [{"operators": [0], "scheme": scheme}, {"operators": [1, 2, 3, 4]}]
        path.write_text(json.dumps({"groups": groups}))
        return cli("evaluate", saved_graph, "--plan", path, "--json")

    assert evaluated("lbdf").json["groups"][0]["scheme"] == "lbdf"
    assert evaluated("layer").json["groups"][0]["scheme"] == "layer"
    evaluated("magic").refused("'magic'", "lbdf")
    path.write_text('{"groups": [{"operators": [0, 1, 2, 3, 4], "scheme": "layer"}]}')
    cli("evaluate", saved_graph, "--plan", path).refused("'layer'", "alone")


@pytest.mark.parametrize(
    "arguments",
    [("--buffer", HUGE), ("--buffer", f"{HUGE}KiB"), ("--accelerator", "a" * 5000), ("--accelerator", "a\0b")],
)
def test_options(cli: Cli, saved_graph: Path, arguments: tuple[str, str]) -> None:
    cli("plan", saved_graph, *arguments).refused()


@pytest.mark.parametrize(
    "text",
    [f"clock_hz = {HUGE}", f"clock_hz = {MONSTROUS}", f"name = {DEEP}", f'buffer_bytes = "{HUGE}"', "clock_hz = nan"],
    ids=range(5),
)
def test_accelerator_files(cli: Cli, saved_graph: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "npu.toml"
    path.write_text(text)
    cli("plan", saved_graph, "--accelerator", path).refused()


@pytest.mark.parametrize("text", [DEEP, f'{{"inputs": {MONSTROUS}}}', "\xff\xfe"], ids=range(3))
def test_graph_files(cli: Cli, tmp_path: Path, text: str) -> None:
    path = tmp_path / "g.json"
    path.write_text(text, encoding="latin-1")
    cli("graph", path).refused()


@pytest.mark.parametrize("value", [None, "x", 1.5, [], -1, True, 10**30])
@pytest.mark.parametrize("key", ["batch", "weight_elements", "macs", "id", "shape"])
def test_facts_of_an_operator(cli: Cli, saved_graph: Path, key: str, value: Any) -> None:
    data = json.loads(saved_graph.read_text())
    del data["fingerprint"]
    data["operators"][1][key] = [value] if key == "shape" else value
    saved_graph.write_text(json.dumps(data))
    cli("plan", saved_graph).refused()


@pytest.mark.parametrize("value", [None, "x", 1.5, [], 0, -1, True])
@pytest.mark.parametrize("key", ["kernel", "stride", "dilation"])
def test_facts_of_a_window(cli: Cli, saved_graph: Path, key: str, value: Any) -> None:
    data = json.loads(saved_graph.read_text())
    del data["fingerprint"]
    data["operators"][0]["row_demand"][0][key] = value
    saved_graph.write_text(json.dumps(data))
    cli("plan", saved_graph).refused()


@pytest.mark.parametrize(
    ("key", "value"), [("outputs", [1.5]), ("outputs", ["x"]), ("name", {}), ("outputs", [True]), ("inputs", 3)]
)
def test_facts_of_a_graph(cli: Cli, saved_graph: Path, key: str, value: Any) -> None:
    data = json.loads(saved_graph.read_text())
    del data["fingerprint"]
    data[key] = value
    saved_graph.write_text(json.dumps(data))
    cli("plan", saved_graph).refused()


def test_batch_of_a_saved_graph_cannot_change(cli: Cli, saved_graph: Path) -> None:
    cli("plan", saved_graph, "--batch", 2).refused("--batch 2", "batch is 1")


def test_an_error_quotes_no_more_than_a_screen(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2, 3, 4], graph_fingerprint="x" * 100_000)
    outcome = cli("evaluate", saved_graph, "--plan", plan)
    outcome.refused("another network")
    assert len(outcome.err) < 3000
