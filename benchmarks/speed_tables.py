"""The page docs/speed.md, made of what benchmarks/speed.py recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record

OURS = "tvm-fusion"
Row = dict[str, Any]
_INTRODUCTION = """\
# Speed

One image, float32, random weights: the best plan in our lowering (`tvm-fusion`, compiled for the number of threads),
`tvm.compile` as it is (`tvm`: on LLVM it fuses no operators), TVM's pipeline for the processor with FuseOps, torch,
torch.compile, and onnxruntime on torch's export. All in one process in turns, a pause and a call that is not timed
before each that is; the median, and the quartiles as the spread. TVM's are all compiled for the processor that LLVM
finds. "Ours takes" is our time over the method's: below 1 ours is faster. "Error" is the largest difference from
torch's output relative to its largest magnitude; "ready" are the seconds from the network in memory to the end of the
first call, the search for a plan included."""


def recorded_rows(folder: Path) -> list[Row]:
    """What was recorded in ``folder``. Raises NoAnswerError if that is nothing."""
    records = [record for path in sorted(folder.glob("*.json")) if (record := read_record(path)) is not None]
    rows = [row for record in records for row in record.get("rows", [])]
    if not rows:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.speed first")
    return rows


def page(folder: Path) -> list[str]:
    """All lines. Raises NoAnswerError if nothing was recorded in ``folder``."""
    rows = recorded_rows(folder)
    lines = [_INTRODUCTION, ""]
    for note in dict.fromkeys(f"{machine_note(row['environment'])} LLVM's processor: {row['cpu']}." for row in rows):
        lines += [note, ""]
    lines += ["Made by `python -m benchmarks.speed`.", ""]
    return [*lines, *(line for row in rows for line in row_tables(row))]


def row_tables(row: Row) -> list[str]:
    """Every method of one setting, and the profile where there is one."""
    plural = "s" if row["threads"] > 1 else ""
    title = f"## {row['network']}, plan for {row['buffer']}, {row['threads']} thread{plural}"
    ours = next((found for found in row["methods"] if found["method"] == OURS and "milliseconds" in found), None)
    lines = [f"{title}: {row['rounds']} rounds", ""]
    if ours is not None:
        lines += [
            f"{ours['groups']} groups, {ours['lowered_groups']} of them ({ours['lowered_operators']} of "
            f"{ours['operators']} operators) in our lowering.",
            "",
        ]
    lines += markdown_table(
        ("method", "median ms", "quartiles", "least", "ours takes", "error", "ready s"),
        [_cells(found, ours) for found in row["methods"]],
    )
    lines += [f"- {found['method']}: {found['problem']}" for found in row["methods"] if "problem" in found]
    lines += [""] if lines[-1] else []
    return lines + (profile_table(row["profile"]) if "profile" in row else [])


def summary(rows: list[Row]) -> list[str]:
    """One line a setting: the median of every method, in milliseconds."""
    methods = list(dict.fromkeys(found["method"] for row in rows for found in row["methods"]))
    cells = []
    for row in rows:
        medians = {m["method"]: f"{m['milliseconds']['median']:.1f}" for m in row["methods"] if "milliseconds" in m}
        cells.append((row["network"], row["buffer"], str(row["threads"]), *(medians.get(m, "") for m in methods)))
    return markdown_table(("network", "plan for", "threads", *methods), cells)


def _cells(found: Row, ours: Row | None) -> tuple[str, ...]:
    if "problem" in found:
        return (found["method"], "does not run", "", "", "", "", "")
    times = found["milliseconds"]
    ratio = ours["milliseconds"]["median"] / times["median"] if ours is not None else None
    return (
        found["method"],
        f"{times['median']:.2f}",
        f"{times['first_quartile']:.2f} .. {times['third_quartile']:.2f}",
        f"{times['least']:.2f}",
        "" if ratio is None or found is ours else f"{ratio:.2f} x",
        f"{found['relative_error']:.0e}",
        f"{found['prepare_seconds']:.1f}",
    )


def profile_table(rows: list[Row]) -> list[str]:
    """The slowest functions of a plan."""
    header = ("function", "ms", "share", "MB moved", "million MACs", "MACs a ns", "lowering", "operators")
    cells = [
        (
            row["function"],
            f"{row['milliseconds']:.2f}",
            f"{100 * row['share']:.1f} %",
            f"{row['dram_bytes'] / 1e6:.2f}" if "dram_bytes" in row else "",
            f"{row['macs'] / 1e6:.1f}" if "macs" in row else "",
            f"{row['macs'] / 1e6 / row['milliseconds']:.1f}" if row.get("macs") and row["milliseconds"] else "",
            ("ours" if row["lowered"] else "TVM") if "lowered" in row else "",
            row.get("types", ""),
        )
        for row in rows
    ]
    return ["The slowest functions:", "", *markdown_table(header, cells)]
