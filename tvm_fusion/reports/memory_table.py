"""The memory report of a compiled network for reading: a Markdown file, and three lines for the terminal."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from tvm_fusion.reports.table import ranges

_COLUMNS = ("group", "operators", "scheme", "fits", "planned", "lowered", "ends at", "sums", "DRAM planned", "lowered")

# How a lowered group executes, by its scheme.
_LOWERED = {
    "lbdf": "in line buffers",
    "brr": "in bands",
    "two-pass": "in passes",
    "channel-streaming": "channel by channel",
}


def memory_summary(report: dict[str, Any], left: str = "by TVM's own lowering") -> str:
    """How the groups of a plan execute, and the most that one holds on chip: as planned, and as lowered.

    ``left``: what becomes of groups that should have been lowered and are not.
    """
    accelerator, moved = report["accelerator"], report["totals"]["network_dram_bytes"]
    layers = sum(group["scheme"] == "layer" for group in report["groups"])
    rest = len(report["groups"]) - layers - report["lowered_groups"]
    lowered = Counter(_LOWERED.get(group["scheme"], group["scheme"]) for group in report["groups"] if group["lowered"])
    kinds = (*((count, how) for how, count in lowered.items()), (layers, "layer by layer"), (rest, left))
    groups = ", ".join(f"{count} {kind}" for count, kind in kinds if count)
    lines = [
        f"{len(report['groups'])} groups: {groups}; {moved / 1e6:.3f} MB of DRAM traffic as planned",
        f"most on chip: {_kib(report['largest_requirement_bytes'])} KiB as planned, at {bits_of(accelerator)} bits; "
        f"the buffer has {_kib(accelerator['buffer_bytes'])} KiB",
    ]
    threads = [group["lowered"]["threads"] for group in report["groups"] if group["lowered"]]
    shared = [count for count in threads if count > 1]
    if shared:
        lines.append(f"{len(shared)} groups shared by up to {max(shared)} threads, each with line buffers of its own")
    end = report["largest_lowered_end_bytes"]
    if end is not None:
        lines.append(f"most on chip: {_kib(end)} KiB by address, at the network's own element widths")
    return "\n".join(lines)


def memory_markdown(report: dict[str, Any], left: str = "by TVM's own lowering") -> str:
    """One row a group, and below it why groups were not lowered; ``left`` as in :func:`memory_summary`."""
    bits, name = bits_of(report["accelerator"]), report["accelerator"]["name"]
    table = Table(box=box.MARKDOWN)
    for column in _COLUMNS:
        table.add_column(column, justify="left" if column in ("operators", "scheme", "fits") else "right", no_wrap=True)
    for group in report["groups"]:
        lowered = group["lowered"]
        figures = ("buffer_bytes", "end_bytes", "accumulator_bytes")
        table.add_row(
            str(group["group"]),
            ranges(group["operators"]),
            group["scheme"],
            "yes" if group["valid"] else "NO",
            f"{group['buffer_bytes']:,}",
            *(f"{lowered[key]:,}" if lowered else "" for key in figures),
            f"{group['dram_bytes']['total']:,}",
            f"{lowered['dram_bytes']:,}" if lowered else "",
        )
    text = io.StringIO()
    Console(file=text, width=10_000, color_system=None, highlight=False, markup=False).print(table)
    rows = [line.strip() for line in text.getvalue().splitlines() if line.strip()]
    notes = [f"- Group {g['group']}: {g['not_lowered']}" for g in report["groups"] if g["not_lowered"]]
    return "\n".join(
        [
            f"# Memory of {report['network']} by group",
            "",
            *(f"- {line}" for line in memory_summary(report, left).splitlines()),
            "",
            f"Bytes. Planned: at {bits} bits (activations/weights), accelerator {name!r}.",
            "Lowered: read off the compiled code, at the network's own element widths.",
            "Sums are what operators add up in, held beside line buffers and weights.",
            "",
            *rows,
            *(["", "Not lowered:", "", *notes] if notes else []),
            "",
        ]
    )


def _kib(count: int) -> str:
    return f"{count / 1024:,.1f}"


def bits_of(accelerator: dict[str, Any]) -> str:
    """Bits of an activation and a weight on an accelerator (its JSON): "8/8", "dtype/dtype"."""
    return "/".join(str(accelerator[key] or "dtype") for key in ("activation_bits", "weight_bits"))
