"""benchmarks/peers.py: blocks, cuts, what is kept of a run, and the tables."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import peers, peers_ours, peers_tables
from benchmarks.peers_blocks import alive_after, blocks
from tests.graphs import Builder, chain, everything, residual_block
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.registry import scheme_names
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.graph import OperatorGraph
from tvm_fusion.graph.graph import members
from tvm_fusion.graph.plan import PartitionPlan

ROOT = Path(__file__).parent.parent.parent


def inverted_residuals() -> OperatorGraph:
    """Stem; expand, filter, squeeze and excite, project; the same with a sum; head with pooling."""
    b = Builder(height=8)

    def bottleneck(source: int) -> int:
        wide = b.pointwise(b.conv(b.pointwise(b.conv(source, kernel=1, channels=8))))
        gate = b.pointwise(b.conv(b.pool(wide), kernel=1), type_="sigmoid")
        return b.conv(b.pointwise(wide, gate, type_="multiply"), kernel=1, channels=4)

    first = bottleneck(b.pointwise(b.conv(-1)))
    second = b.pointwise(first, bottleneck(first), type_="add")
    return b.graph(b.pool(b.pointwise(b.conv(second, kernel=1))))


def test_blocks_of_inverted_residuals_end_at_bottlenecks_and_sums() -> None:
    assert [[*members(mask)] for mask in blocks(inverted_residuals())] == [
        [0, 1], [*range(2, 11)], [*range(11, 21)], [21, 22, 23],
    ]  # fmt: skip


def test_blocks_of_residuals_hold_the_activation_after_the_sum() -> None:
    b = Builder(height=8)
    at = b.pointwise(b.conv(-1))
    for _ in range(2):
        inside = b.conv(b.pointwise(b.conv(at)))
        at = b.pointwise(b.pointwise(at, inside, type_="add"))
    assert [[*members(mask)] for mask in blocks(b.graph(at))] == [[0, 1], [2, 3, 4, 5, 6], [7, 8, 9, 10, 11]]


@given(graph=operator_graphs())
def test_blocks_are_a_plan_of_every_graph(graph: OperatorGraph) -> None:
    found = blocks(graph)
    assert len(PartitionPlan.from_masks(graph, found).groups) == len(found)
    ends = {mask.bit_length() - 1 for mask in found}
    assert any(len(alive_after(graph, end)) <= 1 for end in ends)


@given(data=st.data(), graph=operator_graphs(), accelerator=accelerators())
def test_cuts_fit_and_cover_and_the_cheaper_way_is_taken(
    data: st.DataObject, graph: OperatorGraph, accelerator: Accelerator
) -> None:
    mask = data.draw(group_masks(graph))
    line_buffers, every = Oracle(graph, accelerator, "lbdf"), Oracle(graph, accelerator, "lbdf,brr")
    prefixes = peers_ours.largest_prefixes(line_buffers, mask)
    singles = peers_ours.operator_by_operator(line_buffers, mask)
    cheaper = peers_ours.cut_cheaply(every, line_buffers, mask)
    for parts in (prefixes, singles, cheaper):
        assert sum(parts) == mask
        assert all(every.evaluate(part)[0] for part in parts)
    for part, following in pairwise(prefixes):
        grown = part | following & -following
        assert not (graph.is_connected(grown) and line_buffers.evaluate(grown)[0])
    bands = Oracle(graph, accelerator, "brr")  # what fits under LBDF need not fit here
    assert all(bands.evaluate(part)[0] for part in peers_ours.cut_cheaply(bands, line_buffers, mask))
    moved = [sum(every.evaluate(part)[1] for part in parts) for parts in (cheaper, prefixes)]
    assert moved[0] <= moved[1]
    if every.evaluate(mask)[0]:
        assert moved[0] <= every.evaluate(mask)[1]


def test_a_group_that_fits_is_kept_whole() -> None:
    graph = residual_block()
    oracle = Oracle(graph, Accelerator(buffer_bytes=10**6))
    mask = everything(graph)
    assert peers_ours.operator_by_operator(oracle, mask) == peers_ours.cut_cheaply(oracle, oracle, mask) == [mask]
    row = peers_ours.scored(graph, oracle, [mask], {mask: [mask]})
    assert row["dram_bytes"] == oracle.compulsory_dram_bytes == peers_ours.unlimited(oracle, [mask])["dram_bytes"]
    assert row["groups_cut"] == 0


def test_a_group_that_does_not_fit_is_cut_and_counted() -> None:
    graph = chain(3)
    oracle = Oracle(graph, Accelerator(buffer_bytes=500))
    parts = {0b111: peers_ours.operator_by_operator(oracle, 0b111)}
    row = peers_ours.scored(graph, oracle, [0b111], parts)
    assert (row["groups"], row["proposed_groups"], row["groups_cut"]) == (3, 1, 1)
    assert row["dram_bytes"] == oracle.unfused_dram_bytes


def test_every_registered_scheme_has_a_row_of_ours() -> None:
    choices = peers_ours.scheme_choices()
    assert choices[0] == "lbdf"
    assert choices[-1] == "auto"
    assert {name for choice in choices for name in choice.split(",")} >= set(scheme_names()) - {"layer"}


def test_a_search_of_ours_says_what_is_proven() -> None:
    graph = chain(3)
    row = peers_ours.searched(graph, Accelerator(buffer_bytes=900), "lbdf", 10.0)
    assert row["optimal"]
    assert row["bound_bytes"] == row["dram_bytes"]
    assert sum(row["groups_by_scheme"].values()) == row["groups"]


def row(method: str, choice: str, dram_bytes: int, **facts: Any) -> dict[str, Any]:
    schemes = [*choice.split(","), "layer"] if choice else []
    environment = {"processor": "P", "cores": 2, "python": "3.11", "versions": {"numpy": "2"}}
    known = {"method": method, "choice": choice, "schemes": schemes, "dram_bytes": dram_bytes}
    return {**known, "groups": 3, "seconds": 0.04, "environment": environment, **facts}


def vela_row(**facts: Any) -> dict[str, Any]:
    moved = {"dram_feature_map_read_bytes": 6_000_000, "dram_feature_map_write_bytes": 1_000_000}
    moved |= {"dram_weight_read_bytes": 1_000_000, "encoded_weight_bytes": 900_000, "sram_used_bytes": 2048}
    counts = {"vela_macs": 1010, "vela_weighted_macs": 1000, "file_operators": 5, "operators_on_cpu": 0}
    return row("vela", "", 8_000_000, version="5.2.0", **moved, **counts, **facts)


def record(*rows: dict[str, Any]) -> dict[str, Any]:
    accelerator = {"buffer_bytes": 131072}
    return {"network": "n", "accelerator": accelerator, "operators": 7, "macs": 1000,
            "compulsory_dram_bytes": 1_000_000, "rows": list(rows)}  # fmt: skip


OPTIMAL = {"optimal": True, "bound_bytes": 2_000_000, "chosen_by_heuristics": [], "recomputed_macs": 0}


def test_table_compares_with_our_best_and_says_what_is_counted() -> None:
    unproven = {**OPTIMAL, "optimal": False, "bound_bytes": 1_000_000}
    heuristic = {**OPTIMAL, "chosen_by_heuristics": ["brr"], "recomputed_macs": 5_000_000}
    lines = peers_tables.table(record(
        row("tvm-fusion", "lbdf", 3_000_000, **unproven), row("tvm-fusion", "lbdf,brr", 2_000_000, **heuristic),
        row("FuseOps", "lbdf", 5_000_000, proposed_groups=4, groups_cut=2), row("FuseOps, no buffer", "", 4_000_000),
        vela_row(),
    ))  # fmt: skip
    assert (
        "| tvm-fusion | lbdf layer | 3.00 | 1.50 x | our model | 3 |  | none; at most 200.0 % above the optimum | 0.0 |"
        in lines
    )
    assert any("| 2.00 | 1.00 x |" in line and "optimal, with the choices that brr found" in line for line in lines)
    assert "| FuseOps | lbdf layer | 5.00 | 2.50 x | our model | 3 | 2 of 4 |  | 0.0 |" in lines
    assert any("4.00 | 2.00 x | our model, without a buffer" in line for line in lines)
    assert any("8.00 | 4.00 x | vela's own estimate (5.2.0)" in line for line in lines)
    assert "- lbdf brr layer: 5.0 million MACs are executed again." in lines


def test_note_of_vela_says_whether_it_is_the_same_network() -> None:
    line = peers_tables.table(record(vela_row()))[-2]
    assert "1,000 MACs with weights by its count, as many as ours, and 10 of pooling" in line
    apart = peers_tables.table(record(vela_row() | {"vela_weighted_macs": 1004, "operators_on_cpu": 2}))[-2]
    assert "1,004 MACs with weights by its count, NOT the 1,000 of ours, and 6 of pooling" in apart
    assert "5 operators in the file, 2 left to the CPU" in apart


def test_page_needs_results(tmp_path: Path) -> None:
    (tmp_path / "n.json").write_text(json.dumps(record()))
    with pytest.raises(NoAnswerError, match=r"run benchmarks\.peers first"):
        peers_tables.page(tmp_path)


@pytest.mark.parametrize(
    "arguments", [["--buffer", "1KiBB"], ["--seconds", "0"], ["--nets", ","], ["-o", "/proc/none"]]
)
def test_bad_options(arguments: list[str]) -> None:
    command = [sys.executable, "-m", "benchmarks.peers", *arguments]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1


def by_hand(monkeypatch: pytest.MonkeyPatch, version: str | None = None) -> list[str]:
    """Measure a residual block instead of a network; returns the searches done."""
    case = type("Network", (), {"graph": residual_block(), "module": None})()
    monkeypatch.setattr(peers.building, "load", lambda *_, **__: case)
    monkeypatch.setattr(peers.Case, "fuse_ops", [0b11, 0b100, 0b1000, 0b10000][: len(case.graph) - 1])
    monkeypatch.setattr(peers, "vela_version", lambda: version)
    done: list[str] = []
    search = peers_ours.searched
    monkeypatch.setattr(peers.ours, "searched", lambda *a: done.append(a[2]) or search(*a))
    return done


def test_a_second_call_does_only_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done = by_hand(monkeypatch)
    first = peers.measure("n", "4KiB", 10.0, tmp_path).data["rows"]
    assert done == peers_ours.scheme_choices()
    assert {entry["method"] for entry in first} == {
        "unfused", "tvm-fusion", "FuseOps, no buffer", "FuseOps", "a group a block",
    }  # fmt: skip
    del done[:]
    (tmp_path / "n.json").write_text(json.dumps(peers.measure("n", "4KiB", 10.0, tmp_path).data))
    assert done == []
    data = json.loads((tmp_path / "n.json").read_text())
    data["rows"][-1]["schemes"] = ["of", "another", "time"]
    data["rows"] = [entry for entry in data["rows"] if entry["choice"] != "lbdf,brr"]
    (tmp_path / "n.json").write_text(json.dumps(data))
    again = peers.measure("n", "4KiB", 10.0, tmp_path).data["rows"]
    assert done == ["lbdf,brr"]
    assert [(e["method"], e["choice"], e["dram_bytes"]) for e in again] == [
        (e["method"], e["choice"], e["dram_bytes"]) for e in first
    ]
    assert peers.measure("n", "8KiB", 10.0, tmp_path).data["accelerator"]["buffer_bytes"] == 8192
    assert done[1:] == peers_ours.scheme_choices()


def test_what_vela_cannot_do_is_left_out_with_a_remark(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    by_hand(monkeypatch, version="5.2.0")

    def refuse(*_: Any) -> None:
        raise peers.FusionError("vela is ill")

    monkeypatch.setattr(peers, "run_vela", refuse)
    rows = peers.measure("n", "4KiB", 10.0, tmp_path).data["rows"]
    assert not any("vela" in entry["method"] for entry in rows)
    assert "n: vela is left out: vela is ill" in capsys.readouterr().err
