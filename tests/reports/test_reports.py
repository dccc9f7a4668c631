"""Tables, explanations, plots and comparisons say what the cost model says."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from rich.console import Console

from tests.graphs import residual_block
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.plan_timeline import PlanTimeline
from tvm_fusion.errors import FusionError
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.reports import table
from tvm_fusion.reports.comparison import ComparisonRow, RunFacts, unfused_row
from tvm_fusion.reports.memory_plot import plot_memory, plot_plan
from tvm_fusion.reports.progress import search_progress, shown_value


def shown(what: object) -> str:
    console = Console(file=io.StringIO(), width=160)
    console.print(what)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_ranges() -> None:
    assert table.ranges((0, 1, 2, 5, 7, 8)) == "0-2,5,7-8"
    assert table.ranges((3,)) == "3"
    assert table.ranges(()) == ""


def test_plan_and_totals_tables() -> None:
    graph = residual_block()
    accelerator = Accelerator(buffer_bytes=1024)
    plan = PartitionPlan.from_masks(graph, [0b00111, 0b11000])
    evaluation = evaluate_plan(graph, plan, Oracle(graph, accelerator))
    text = shown(table.plan_table(graph, evaluation))
    assert "NO" in text
    assert "3-4" in text
    totals = shown(table.totals_table(evaluation, accelerator))
    assert f"{evaluation.network_dram_bytes / 1e6:.3f} MB" in totals
    assert "estimate" in totals


def test_comparison_counts_mean_spread_and_best() -> None:
    def facts(moved: int, valid: bool = True) -> RunFacts:
        return RunFacts(0, moved, moved, 200, 50, 3, 2.0, optimal=False, valid=valid)

    row = ComparisonRow("a", (facts(100), facts(140), facts(60, valid=False)))
    assert row.mean_bytes == 100
    assert row.spread_bytes == 80
    assert row.saving == 0.5
    assert row.best.network_dram_bytes == 100
    assert row.to_json()["network_dram_bytes"] == {"mean": 100, "min": 100, "max": 140}
    assert "50.0%" in shown(table.comparison_table([row], "t"))


def test_unfused_row_is_the_oracles() -> None:
    graph = residual_block()
    row = unfused_row(graph, Accelerator())
    assert row.best.network_dram_bytes == Oracle(graph, Accelerator()).unfused_dram_bytes
    assert row.saving == 0


def test_plot_is_a_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    curve = PlanTimeline(tuple(range(1000)), tuple(range(0, 2000, 2)), (0, 500), 5000)
    plot_memory(curve, 8000, "title", tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FusionError, match="cannot write"):
        plot_memory(curve, 8000, "title", tmp_path / "none" / "plot.png")


def test_plot_of_a_plan_moves_what_the_evaluation_says(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    graph, accelerator = residual_block(), Accelerator(buffer_bytes=500)  # some operators run layer by layer
    plan = PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])
    timeline = plot_plan(graph, plan, accelerator, tmp_path / "plot.png")
    oracle = Oracle(graph, accelerator)
    assert {oracle.cost(mask).scheme for mask in plan.masks} == {"lbdf", "layer"}
    assert timeline.dram_bytes[-1] == evaluate_plan(graph, plan, oracle).network_dram_bytes
    assert (tmp_path / "plot.png").stat().st_size > 10_000


def test_progress_is_silent_without_a_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    with search_progress("exact", 10) as callback:
        assert callback is None
    assert capfd.readouterr().err == ""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_progress_shows_the_best_value_in_the_unit_of_the_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with search_progress("exact", 10, "energy") as report:
        assert report is not None
        report(1, 2_500_000_000)
    assert "best 2.500 mJ" in sys.stderr.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("objective", "text"), [("dram", "41596.000 MB"), ("energy", "41.596 mJ"), ("cycles", "41596.000 million cycles")]
)
def test_values_have_the_unit_of_the_objective(objective: str, text: str) -> None:
    assert shown_value(41_596_000_000, objective) == text
