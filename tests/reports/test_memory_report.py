"""The memory report: bytes of every group in the order of execution; its readable form and its drawing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.graphs import residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError, PlanError
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.reports.memory_map_plot import plot_memory_map
from tvm_fusion.reports.memory_report import memory_report
from tvm_fusion.reports.memory_table import memory_markdown, memory_summary

PLAN = PartitionPlan((Group((2, 3, 4)), Group((0, 1))))
LOWERED = {
    "buffer_bytes": 3000,
    "end_bytes": 4096,
    "threads": 1,
    "dram_bytes": 90_000,
    "accumulator_bytes": 24,
    "memory_map": [
        {"name": "relu_1_rows", "address": 0, "bytes": 1000},
        {"name": "weight_0_1", "address": 2096, "bytes": 2000},
    ],
}


def report(buffer_bytes: int = 256 * 1024) -> dict[str, Any]:
    """The residual block in two groups, the first of which (of operators 0 and 1) is lowered."""
    graph = residual_block()
    oracle = Oracle(graph, Accelerator(buffer_bytes=buffer_bytes))
    return memory_report(graph, PLAN, oracle, {"fused_group_0": LOWERED}, {"fused_group_1": "operator 'x': why"})


def test_groups_are_numbered_as_they_execute_and_add_up() -> None:
    graph = residual_block()
    found = report()
    assert [group["operators"] for group in found["groups"]] == [[0, 1], [2, 3, 4]]
    assert [group["function"] for group in found["groups"]] == ["fused_group_0", "fused_group_1"]
    for group in found["groups"]:
        parts = [part["bytes"] for part in (*group["tensors"], *group["weights"])]
        assert sum(parts) == group["buffer_bytes"]
    assert found["totals"] == evaluate_plan(graph, PLAN, Oracle(graph, Accelerator())).totals()
    moved = sum(group["dram_bytes"]["total"] for group in found["groups"])
    assert moved == found["totals"]["network_dram_bytes"]
    assert json.loads(json.dumps(found)) == found


def test_lowered_groups_and_why_others_are_not() -> None:
    found = report()
    assert [group["lowered"] for group in found["groups"]] == [LOWERED, None]
    assert [group["not_lowered"] for group in found["groups"]] == [None, "operator 'x': why"]
    assert (found["lowered_groups"], found["largest_lowered_end_bytes"]) == (1, 4096)
    bare = memory_report(residual_block(), PLAN, Oracle(residual_block(), Accelerator()))
    assert [group["not_lowered"] for group in bare["groups"]] == ["lowering is off"] * 2
    assert (bare["lowered_groups"], bare["largest_lowered_end_bytes"]) == (0, None)


def test_an_operator_that_does_not_fit_has_no_line_buffers() -> None:
    graph = residual_block()
    oracle = Oracle(graph, Accelerator(buffer_bytes=64))
    found = memory_report(graph, PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))]), oracle)
    heavy = found["groups"][0]
    assert heavy["scheme"] == "layer"
    assert heavy["tensors"] == []
    assert heavy["weights"]
    assert heavy["not_lowered"] == "it executes layer by layer"
    assert "layer by layer" in memory_summary(found)


def test_a_plan_of_another_graph_is_refused() -> None:
    graph = residual_block()
    with pytest.raises(PlanError):
        memory_report(graph, PartitionPlan((Group((0,)),)), Oracle(graph, Accelerator()))


def test_summary_has_both_figures() -> None:
    text = memory_summary(report())
    assert "2 groups: 1 in line buffers, 1 by TVM's own lowering" in text
    planned = report()["largest_requirement_bytes"]
    assert f"{planned / 1024:,.1f} KiB as planned, at 8/8 bits; the buffer has 256.0 KiB" in text
    assert "4.0 KiB by address" in text


def test_markdown_has_a_row_a_group_and_the_reasons() -> None:
    found = report(buffer_bytes=500)
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in memory_markdown(found).splitlines() if "|" in line
    ]
    header, _, *groups = rows
    assert len(groups) == 2
    assert all(len(row) == len(header) for row in rows)
    planned, moved = found["groups"][0]["buffer_bytes"], found["groups"][0]["dram_bytes"]["total"]
    figures = [f"{planned:,}", "3,000", "4,096", "24", f"{moved:,}", "90,000"]
    assert groups[0] == ["0", "0-1", "lbdf", "NO", *figures]
    assert groups[1][5:8] == [""] * 3
    assert "- Group 1: operator 'x': why" in memory_markdown(found)


def test_map_is_drawn(tmp_path: Path) -> None:
    plot_memory_map(report(), tmp_path / "map.png")
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_map_has_every_entry_at_its_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tvm_fusion.reports import memory_map_plot

    figures: list[Any] = []
    monkeypatch.setattr(memory_map_plot, "write_png", lambda figure, _path: figures.append(figure))
    plot_memory_map(report(), tmp_path / "map.png")
    bars = [(bar.get_y() * 1024, bar.get_height() * 1024) for bar in figures[0].axes[0].patches]
    assert bars == [(0, 1000), (2096, 2000)]


def test_nothing_to_draw(tmp_path: Path) -> None:
    bare = memory_report(residual_block(), PLAN, Oracle(residual_block(), Accelerator()))
    with pytest.raises(FusionError, match="no group was lowered"):
        plot_memory_map(bare, tmp_path / "map.png")
    assert not (tmp_path / "map.png").exists()
