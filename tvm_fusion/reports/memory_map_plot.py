"""The memory map of a compiled network: where every ring and weight of every group lies in the on-chip buffer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tvm_fusion.errors import FusionError
from tvm_fusion.reports.figures import new_figure, write_png
from tvm_fusion.reports.memory_table import bits_of

_COLOURS = {"line buffers": "#4477aa", "weights": "#ccbb44"}
_WIDEST_INCHES = 40


def plot_memory_map(report: dict[str, Any], path: str | Path) -> None:
    """Draw the addresses of a memory report as PNG, one column a group, the buffer as a dashed line.

    Raises FusionError without matplotlib, if no group was lowered, or if ``path`` cannot be written.
    """
    groups = [group for group in report["groups"] if group["lowered"]]
    if not groups:
        raise FusionError("there is no memory map to draw: no group was lowered")
    figure = new_figure(width=min(_WIDEST_INCHES, max(11.0, 0.2 * len(groups))), height=6)
    _draw(figure.add_subplot(), groups, report)
    write_png(figure, path)


def _draw(axes: Any, groups: list[dict[str, Any]], report: dict[str, Any]) -> None:
    shown = {}
    for kind, colour in _COLOURS.items():
        parts = [
            (column, entry["address"] / 1024, entry["bytes"] / 1024)
            for column, group in enumerate(groups)
            for entry in group["lowered"]["memory_map"]
            if (kind == "weights") == entry["name"].startswith("weight_")
        ]
        if parts:
            columns, addresses, sizes = zip(*parts, strict=True)
            shown[kind] = axes.bar(
                columns, sizes, bottom=addresses, width=0.8, color=colour, edgecolor="black", linewidth=0.4
            )
    buffer_bytes = report["accelerator"]["buffer_bytes"]
    shown[f"buffer, planned at {bits_of(report['accelerator'])} bits"] = axes.axhline(
        buffer_bytes / 1024, color="#aa3377", linestyle="--", linewidth=1.2
    )
    axes.set_xticks(range(len(groups)), [str(group["group"]) for group in groups], fontsize="x-small", rotation=90)
    axes.set_xlim(-0.6, len(groups) - 0.4)
    axes.set_ylim(0, max(buffer_bytes, report["largest_lowered_end_bytes"]) / 1024 * 1.12)
    axes.set_xlabel("group, in the order of execution")
    axes.set_ylabel("address in KiB, at the network's own element widths")
    axes.set_title(
        f"{report['network']}: on-chip memory map, {len(groups)} of {len(report['groups'])} groups lowered",
        fontsize="medium",
    )
    axes.legend(shown.values(), shown.keys(), loc="upper right", ncols=len(shown), fontsize="small")
