"""A Pareto front as JSON, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan_io import plan_to_json
from tvm_fusion.reports.figures import new_figure, write_png
from tvm_fusion.reports.scheme_shares import scheme_shares
from tvm_fusion.reports.table import megabytes, numbers_table

if TYPE_CHECKING:
    from tvm_fusion.search.pareto import ParetoPoint

# How the second number is shown: title, unit, what one unit of it is.
_SHOWN = {
    "buffer": ("largest requirement", "KiB", 1024.0),
    "macs": ("MACs executed again", "% of the network's", 0.0),
    "energy": ("estimated energy", "mJ", 1e9),
    "cycles": ("estimated cycles", "million", 1e6),
}


def front_json(points: Sequence[ParetoPoint], graph: OperatorGraph, against: str, **facts: Any) -> dict[str, Any]:
    """Every point with its plan, as ``evaluate --plan`` and ``compile --plan`` read it."""
    found = [
        {
            "dram_bytes": point.dram_bytes,
            against: point.other,
            "optimal": point.optimal,
            "plan": plan_to_json(point.plan, graph, totals=point.evaluation.totals(), **facts),
        }
        for point in points
    ]
    return {"network": graph.name, "against": against, "points": found}


def front_table(points: Sequence[ParetoPoint], graph: OperatorGraph, against: str) -> Table:
    """One row a point, least DRAM bytes first."""
    title, unit, _ = _SHOWN[against]
    columns = ("DRAM MB", f"{title}, {unit}", "groups", "schemes", "")
    table = numbers_table(f"{graph.name}: DRAM bytes against {title}", *columns, text=("schemes", ""))
    for point, shown in zip(points, _shown(points, graph, against), strict=True):
        schemes = ", ".join(f"{share.groups} {share.scheme}" for share in scheme_shares(point.evaluation))
        proof = "optimal" if point.optimal else ""
        table.add_row(megabytes(point.dram_bytes), f"{shown:,.2f}", str(len(point.plan.groups)), schemes, proof)
    return table


def plot_front(points: Sequence[ParetoPoint], graph: OperatorGraph, against: str, path: str | Path) -> None:
    """Draw the points as PNG. Raises FusionError without matplotlib or if ``path`` cannot be written."""
    title, unit, _ = _SHOWN[against]
    figure = new_figure(width=7.5, height=4.5)
    axes = figure.add_subplot()
    axes.plot(_shown(points, graph, against), [point.dram_bytes / 1e6 for point in points], "o-", color="#4477aa")
    if against == "buffer":
        axes.set_xscale("log", base=2)
    compulsory = points[0].evaluation.compulsory_dram_bytes / 1e6
    axes.axhline(compulsory, color="#aa3377", linestyle="--", linewidth=1.2, label="compulsory")
    axes.set_xlabel(f"{title} ({unit})")
    axes.set_ylabel("DRAM (MB)")
    axes.set_ylim(bottom=0)
    axes.set_title(graph.name)
    axes.legend()
    write_png(figure, path)


def _shown(points: Sequence[ParetoPoint], graph: OperatorGraph, against: str) -> list[float]:
    unit = _SHOWN[against][2] or max(1, sum(op.macs * op.batch for op in graph.operators)) / 100
    return [point.other / unit for point in points]
