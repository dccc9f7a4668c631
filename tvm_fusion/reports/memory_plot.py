"""Plot of a plan over time: on-chip bytes of every step, cumulative DRAM traffic, group boundaries."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.plan_timeline import PlanTimeline, simulate_plan
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.reports.figures import new_figure, write_png


def plot_plan(graph: OperatorGraph, plan: PartitionPlan, accelerator: Accelerator, path: str | Path) -> PlanTimeline:
    """Simulate ``plan`` event by event and draw it; returns what is drawn."""
    timeline = simulate_plan(graph, plan, Oracle(graph, accelerator))
    title = (
        f"{graph.name}: {len(plan.groups)} groups, {timeline.dram_bytes[-1] / 1e6:.2f} MB of DRAM traffic, "
        f"buffer {accelerator.buffer_bytes / 1024:g} KiB"
    )
    plot_memory(timeline, accelerator.buffer_bytes, title, path)
    return timeline


def plot_memory(timeline: PlanTimeline, buffer_bytes: int, title: str, path: str | Path) -> None:
    """Write the plot as PNG. Raises FusionError without matplotlib or if ``path`` cannot be written."""
    figure = new_figure()
    axes = figure.add_subplot()
    _draw(axes, timeline, buffer_bytes, title)
    write_png(figure, path)


def _draw(axes: Any, timeline: PlanTimeline, buffer_bytes: int, title: str) -> None:
    points = len(timeline.occupancy_bytes)
    events = [point * timeline.events / points for point in range(points)]
    on_chip = axes.fill_between(
        events,
        [b / 1024 for b in timeline.occupancy_bytes],
        step="post",
        color="#4477aa",
        alpha=0.75,
        linewidth=0,
        label="on chip",
    )
    limit = axes.axhline(buffer_bytes / 1024, color="#aa3377", linestyle="--", linewidth=1.2, label="buffer")
    boundary = None
    for start in timeline.group_starts:
        boundary = axes.axvline(events[start], color="black", alpha=0.3, linewidth=0.6, label="start of a group")
    axes.set_xlim(0, max(1, timeline.events))
    axes.set_ylim(0, max(buffer_bytes, *timeline.occupancy_bytes) / 1024 * 1.15)
    axes.set_xlabel("event of the simulator (a row loaded, computed, stored or freed)")
    axes.set_ylabel("on-chip memory in KiB")
    axes.set_title(title, fontsize="medium")
    moved_axes = axes.twinx()
    moved = moved_axes.plot(
        events, [b / 1e6 for b in timeline.dram_bytes], color="#228833", linewidth=1.8, label="DRAM traffic so far"
    )[0]
    moved_axes.set_ylabel("DRAM traffic so far in MB")
    moved_axes.set_ylim(0, timeline.dram_bytes[-1] / 1e6 * 1.15)
    shown = [handle for handle in (on_chip, limit, moved, boundary) if handle is not None]
    axes.legend(handles=shown, loc="upper left", ncols=len(shown), fontsize="small")
