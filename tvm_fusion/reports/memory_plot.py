"""Plot of a plan over time: on-chip bytes of every step, cumulative DRAM traffic, group boundaries."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tvm_fusion.errors import FusionError
from tvm_fusion.files import write_bytes_atomic

MAX_POINTS = 4000


@dataclass(frozen=True, slots=True)
class MemoryCurve:
    """What is plotted: events in order (on-chip bytes, DRAM bytes moved so far), first event of each group."""

    occupancy_bytes: tuple[int, ...]
    dram_bytes: tuple[int, ...]
    group_starts: tuple[int, ...]


def plot_memory(curve: MemoryCurve, buffer_bytes: int, title: str, path: str | Path) -> None:
    """Write the plot as PNG. Raises FusionError without matplotlib or if ``path`` cannot be written."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise FusionError("plots need matplotlib; install it with: pip install 'tvm-fusion[plot]'") from None
    figure = Figure(figsize=(11, 4.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    _draw(axes, curve, buffer_bytes, title)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110)
    write_bytes_atomic(path, picture.getvalue())


def _draw(axes: Any, curve: MemoryCurve, buffer_bytes: int, title: str) -> None:
    steps, occupancy = _thin(curve.occupancy_bytes)
    on_chip = axes.fill_between(
        steps, [b / 1024 for b in occupancy], step="post", color="#4477aa", alpha=0.75, linewidth=0, label="on chip"
    )
    limit = axes.axhline(buffer_bytes / 1024, color="#aa3377", linestyle="--", linewidth=1.2, label="buffer")
    boundary = None
    for start in curve.group_starts:
        boundary = axes.axvline(start, color="black", alpha=0.25, linewidth=0.6, label="start of a group")
    axes.set_xlim(0, max(1, len(curve.occupancy_bytes) - 1))
    axes.set_ylim(0, max(buffer_bytes, max(curve.occupancy_bytes, default=0)) / 1024 * 1.08)
    axes.set_xlabel("event of the simulator (row loaded, computed, stored)")
    axes.set_ylabel("on-chip memory in KiB")
    axes.set_title(title)
    moved_axes = axes.twinx()
    indices = steps[: len(curve.dram_bytes)]
    moved = moved_axes.plot(
        indices, [curve.dram_bytes[i] / 1e6 for i in indices], color="#228833", linewidth=1.6, label="DRAM so far"
    )[0]
    moved_axes.set_ylabel("DRAM traffic so far in MB")
    moved_axes.set_ylim(bottom=0)
    shown = [handle for handle in (on_chip, limit, moved, boundary) if handle is not None]
    axes.legend(handles=shown, loc="upper left", ncols=len(shown), fontsize="small")


def _thin(values: Sequence[int]) -> tuple[list[int], list[int]]:
    """At most MAX_POINTS points, each the highest of its stretch: no peak is lost."""
    stretch = max(1, -(-len(values) // MAX_POINTS))
    steps = list(range(0, len(values), stretch))
    return steps, [max(values[i : i + stretch]) for i in steps]
