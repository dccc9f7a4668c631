"""Every sub-command: what it prints, writes and returns."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from tests.cli.conftest import Cli, write_plan
from tests.graphs import everything, residual_block, squeeze_and_excite
from tvm_fusion.cli.main import app
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import line_buffer_cost
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph import graph_to_json

COMMANDS = ("graph", "plan", "evaluate", "explain", "compile", "run", "compare", "pareto", "train-explainer")


def test_every_command_is_there() -> None:
    assert {command.name for command in app.registered_commands} == set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example_json_and_verbose(cli: Cli, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    outcome = cli(command, "--help")
    assert outcome.code == 0
    text = re.sub(r"\x1b\[[0-9;]*m", "", outcome.out)
    for expected in (f"Example: tvm-fusion {command} ", "--json", "--verbose"):
        assert expected in text


def test_no_help_has_what_rich_takes_for_markup() -> None:
    group = typer.main.get_command(app)
    for command in group.commands.values():  # type: ignore[attr-defined]
        for text in (command.help, *(getattr(option, "help", None) for option in command.params)):
            assert "[" not in (text or ""), (command.name, text)


def test_no_arguments_show_the_help(cli: Cli) -> None:
    outcome = cli()
    assert outcome.code == 0
    assert "evaluate" in outcome.out


def test_version(cli: Cli) -> None:
    assert cli("--version").out.startswith("tvm-fusion ")


def test_help_loads_nothing_heavy() -> None:
    script = (
        "import sys; from tvm_fusion.cli.main import run; run(['plan', '--help'])\n"
        "assert not {'tvm', 'torch', 'pymoo', 'onnx', 'numpy'} & set(sys.modules), 'loaded too much'"
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)


def test_graph_json_is_what_the_other_commands_read(cli: Cli, saved_graph: Path) -> None:
    outcome = cli("graph", saved_graph, "--json")
    assert outcome.code == 0
    assert outcome.json == json.loads(saved_graph.read_text())
    first = outcome.json["operators"][0]
    assert first["inputs"] == [-1]
    assert first["window"] == {"kernel": [3, 3], "stride": [1, 1], "padding": [1, 1, 1, 1], "dilation": [1, 1]}


def test_graph_table(cli: Cli, saved_graph: Path) -> None:
    outcome = cli("graph", saved_graph)
    assert outcome.code == 0
    assert "conv2d_2" in outcome.out


def test_evaluate(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2], [3, 4])
    data = cli("evaluate", saved_graph, "--plan", plan, "--json").json
    map_bytes = 4 * 56 * 56
    assert [group["dram_bytes"]["total"] for group in data["groups"]] == [2 * map_bytes + 288, 3 * map_bytes]
    assert data["totals"]["network_dram_bytes"] == 5 * map_bytes + 288
    assert data["totals"]["compulsory_dram_bytes"] == 2 * map_bytes + 288
    assert "0-2" in cli("evaluate", saved_graph, "--plan", plan).out


def test_evaluate_of_a_plan_that_does_not_fit_is_exit_1(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2], [3, 4])
    outcome = cli("evaluate", saved_graph, "--plan", plan, "--buffer", "1KiB", "--json")
    assert outcome.code == 1
    assert outcome.err == ""
    assert [group["valid"] for group in outcome.json["groups"]] == [False, True]


def test_evaluate_takes_the_accelerator_of_the_plan(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2], [3, 4], accelerator=Accelerator(activation_bits=16).to_json())
    halves = 5 * 4 * 56 * 56
    for options, expected in (
        ((), 2 * halves),
        (("--activation-bits", "8"), halves),
        (("--accelerator", "edge"), halves),
    ):
        totals = cli("evaluate", saved_graph, "--plan", plan, "--json", *options).json["totals"]
        assert totals["network_dram_bytes"] == expected + 288


def test_explain_shows_bytes_by_tensor_and_the_smallest_buffer(cli: Cli, saved_graph: Path) -> None:
    graph = residual_block()
    cost = line_buffer_cost(graph, everything(graph), Accelerator())
    outcome = cli("explain", saved_graph, "--operators", "0-4", "--buffer", "1KiB", "--json")
    assert outcome.code == 0
    data = outcome.json
    assert data["valid"] is False
    assert data["smallest_buffer_bytes"] == cost.buffer_bytes == 1856
    assert data["excess_bytes"] == 1856 - 1024
    assert {t["tensor"]: (t["lines"], t["bytes"]) for t in data["tensors"]} == {
        buffer.tensor: (buffer.lines, buffer.bytes) for buffer in cost.buffers
    }
    assert sum(t["bytes"] for t in data["tensors"]) + sum(w["bytes"] for w in data["weights"]) == 1856


def test_explain_smallest_buffer_is_exact(cli: Cli, saved_graph: Path) -> None:
    for size, fits in ((1856, True), (1855, False)):
        data = cli("explain", saved_graph, "--operators", "0,1-3,4", "--buffer", size, "--json").json
        assert data["fits_line_buffers"] is fits


def test_explain_group_of_a_plan(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2], [3, 4])
    outcome = cli("explain", saved_graph, "--plan", plan, "--group", 1)
    assert outcome.code == 0
    assert "Valid: it needs 672 bytes" in outcome.out


def test_explain_group_of_a_plan_in_its_scheme(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    groups = [
        {"operators": [0, 1, 2], "scheme": "brr", "parameters": {"bands": 1, "kept": []}},
        {"operators": [3, 4]},
    ]
    plan = tmp_path / "p.json"
    plan.write_text(json.dumps({"groups": groups}))
    arguments = ("explain", saved_graph, "--plan", plan, "--group")
    assert "Valid under BRR" in cli(*arguments, 0).out
    assert "Valid: it needs" in cli(*arguments, 0, "--scheme", "lbdf").out
    assert "Valid: it needs" in cli(*arguments, 1).out


def test_explain_group_of_a_plan_in_a_scheme_that_executes_no_operator_alone(cli: Cli, tmp_path: Path) -> None:
    graph = squeeze_and_excite()
    net, plan = tmp_path / "net.json", tmp_path / "p.json"
    net.write_text(json.dumps(graph_to_json(graph)))
    cost = Oracle(graph, Accelerator(buffer_bytes=10**6)).cost_in(everything(graph), "two-pass")
    group = {"operators": list(cost.operators), "scheme": "two-pass", "parameters": cost.parameters}
    plan.write_text(json.dumps({"groups": [group]}))
    outcome = cli("explain", net, "--plan", plan, "--group", 0)
    assert outcome.code == 0, outcome.err
    assert "two-pass" in outcome.out


def test_explain_in_other_schemes(cli: Cli, saved_graph: Path) -> None:
    arguments = ("explain", saved_graph, "--operators", "0-4", "--buffer", "600")
    assert cli(*arguments, "--json").json == cli(*arguments, "--scheme", "lbdf", "--json").json
    bands = cli(*arguments, "--scheme", "brr", "--json").json
    assert bands["shown_scheme"] == "brr"
    assert bands["needed_bytes"] == {"brr": bands["smallest_buffer_bytes"]}
    assert bands["shown_parameters"]["bands"] > 1
    assert "fits_line_buffers" not in bands
    both = cli(*arguments, "--scheme", "lbdf,brr", "--json").json
    assert both["needed_bytes"] == {"lbdf": 1856, **bands["needed_bytes"]}
    assert both["smallest_buffer_bytes"] == min(both["needed_bytes"].values())
    assert "Invalid under BRR" in cli(*arguments, "--scheme", "brr").out


def test_plan_saves_what_evaluate_reads(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    outcome = cli("plan", saved_graph, "--algorithm", "exact", "--buffer", "2KiB", "-o", path, "--json")
    assert outcome.code == 0
    assert outcome.json["optimal"] is True
    assert outcome.json["totals"]["network_dram_bytes"] == 2 * 4 * 56 * 56 + 288
    saved = json.loads(path.read_text())
    assert saved["algorithm"] == "exact"
    assert saved["accelerator"]["buffer_bytes"] == 2048
    totals = cli("evaluate", saved_graph, "--plan", path, "--json").json["totals"]
    assert totals == saved["totals"]


@pytest.mark.parametrize("algorithm", ["best", "random-search", "local-search", "nsga2", "interval-dp"])
def test_plan_with_every_algorithm_twice_is_the_same(
    cli: Cli, saved_graph: Path, tmp_path: Path, algorithm: str
) -> None:
    texts = []
    for k in range(2):
        path = tmp_path / f"{k}.json"
        outcome = cli("plan", saved_graph, "--algorithm", algorithm, "--budget", 30, "--seed", 3, "-o", path)
        assert outcome.code == 0, outcome.err
        assert "5 operators" in outcome.out or "group" in outcome.out
        texts.append(path.read_bytes())
    assert texts[0] == texts[1]


def test_plan_with_a_time_limit(cli: Cli, saved_graph: Path) -> None:
    outcome = cli(
        "plan", saved_graph, "--algorithm", "random-search", "--budget", 10**9, "--time-limit", "300ms", "--json"
    )
    assert outcome.code == 0
    assert outcome.json["seconds"] < 5


def test_compare(cli: Cli, saved_graph: Path) -> None:
    arguments = ("compare", saved_graph, "--algorithms", "exact,random-search", "--seeds", "0,1", "--budget", 20)
    data = cli(*arguments, "--json").json
    assert [row["algorithm"] for row in data["algorithms"]] == ["unfused", "exact", "random-search"]
    assert [len(row["runs"]) for row in data["algorithms"]] == [1, 1, 2]
    moved = [row["network_dram_bytes"]["min"] for row in data["algorithms"]]
    assert data["compulsory_dram_bytes"] <= moved[1] <= moved[2] <= moved[0]
    table = cli(*arguments)
    assert table.code == 0
    assert "random-search" in table.out
    assert "optimal" in table.out
