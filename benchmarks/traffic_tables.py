"""Measured traffic beside the model's: arithmetic and tables of what benchmarks/traffic.py recorded."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

from benchmarks.markdown import machine_note, markdown_table
from benchmarks.runner.cachegrind import LINE_BYTES
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record

Row = dict[str, Any]
Group = dict[str, Any]
PLANS = ("unfused", "fused")
# Columns of a group in a record, which is one line of text there: what the model says, and missed lines.
COLUMNS = (
    "group", "scheme", "lowered", "buffer_bytes", "input_bytes", "weight_bytes", "output_bytes", "reads", "writes",
)  # fmt: skip
FILLS = (0, 0.25, 0.5, 0.75, 1)
# Who lowers a group ("lowered": we do), and how. "layer by layer": one operator too heavy for the buffer even alone.
PARTS: dict[str, Callable[[Group], bool]] = {
    "line buffers": lambda group: bool(group["lowered"]) and not is_layer(group),
    "layer by layer": lambda group: bool(group["lowered"]) and is_layer(group),
    "line buffers, left to TVM": lambda group: not group["lowered"] and not is_layer(group),
    "layer by layer, left to TVM": lambda group: not group["lowered"] and is_layer(group),
}
_INTRODUCTION = """\
# Traffic, measured

The last-level misses of a compiled network under valgrind's cachegrind, times {line} bytes, in a cache the size of the
buffer (and twice that), beside the bytes that the cost model says at the same element width. Both plans are lowered by
LowerLineBuffer: the best one, and the one with one operator a group. The second execution is counted, without start-up.
Operators that are too heavy for the buffer even alone ("layer by layer") are the same in both plans and stand aside in
the second ratio. LowerLineBuffer makes them too: a block of one operand is to stay in half of the buffer while the
others pass, and the model counts every pass. "Left to TVM" is what the rules of the lowering do not
cover. A cache is no scratchpad: it throws lines out by age, and it fetches the memory of a line
buffer or of a copied weight as it does any other; the second table says where, the third how it depends on how much of
the cache a group of line buffers fills."""


def measured_bytes(row: Row, kind: str = "both") -> int:
    """Bytes of the missed lines of a row: of data "reads", "writes" or "both"."""
    misses = row["misses"]
    return int(LINE_BYTES * (misses["reads"] + misses["writes"] if kind == "both" else misses[kind]))


def group_text(facts: dict[str, Any]) -> str:
    """A group as a record keeps it."""
    return " ".join(str(int(facts[key]) if key != "scheme" else facts[key]) for key in COLUMNS)


def groups_of(row: Row) -> list[Group]:
    """The groups of a row by the names of COLUMNS."""
    found = []
    for text in row["groups"]:
        values = dict(zip(COLUMNS, text.split(), strict=True))
        found.append({key: value if key == "scheme" else int(value) for key, value in values.items()})
    return found


def is_layer(group: Group) -> bool:
    """Whether the plan executes a group, one operator, layer by layer."""
    return str(group["scheme"]) == "layer"


def part_bytes(groups: list[Group]) -> dict[str, int]:
    """Bytes of some groups, by the model and by the cache; "kept": their on-chip bytes."""
    return {
        "groups": len(groups),
        "model_reads": sum(group["input_bytes"] + group["weight_bytes"] for group in groups),
        "model_writes": sum(group["output_bytes"] for group in groups),
        "reads": LINE_BYTES * sum(group["reads"] for group in groups),
        "writes": LINE_BYTES * sum(group["writes"] for group in groups),
        "kept": sum(group["buffer_bytes"] for group in groups),
    }


def pairs(rows: list[Row]) -> list[tuple[Row, Row]]:
    """(unfused, fused) of every cache that both were measured in."""
    found = {(row["cache_bytes"], row["plan"]): row for row in rows}
    sizes = sorted({row["cache_bytes"] for row in rows})
    return [
        (found[size, PLANS[0]], found[size, PLANS[1]]) for size in sizes if all((size, plan) in found for plan in PLANS)
    ]


def saving(unfused: Row, fused: Row) -> dict[str, Any]:
    """Bytes that fusion saves by the model and by the cache, and how the two come apart.

    "ratio" is measured over predicted; "line_buffer_ratio" the same without the operators that execute layer by layer.
    Of these others predicted - measured = "unfused_below_model_bytes" + "fused_beyond_model_bytes". Either may be
    negative, and they may cancel: a ratio near 1 alone does not say that the model's bytes were measured.
    """
    model, cache = [], []
    for row in (unfused, fused):
        aside = part_bytes([group for group in groups_of(row) if is_layer(group)])
        model.append(row["model_dram_bytes"] - aside["model_reads"] - aside["model_writes"])
        cache.append(measured_bytes(row) - aside["reads"] - aside["writes"])
    predicted = unfused["model_dram_bytes"] - fused["model_dram_bytes"]
    measured = measured_bytes(unfused) - measured_bytes(fused)
    return {
        "predicted_bytes": predicted,
        "measured_bytes": measured,
        "ratio": measured / predicted if predicted else None,
        "line_buffer_ratio": (cache[0] - cache[1]) / (model[0] - model[1]) if model[0] != model[1] else None,
        "unfused_below_model_bytes": model[0] - cache[0],
        "fused_beyond_model_bytes": cache[1] - model[1],
    }


def page(folder: Path) -> list[str]:
    """The page docs/traffic.md. Raises NoAnswerError if nothing was recorded in ``folder``."""
    records = [record for path in sorted(folder.glob("*.json")) if (record := read_record(path)) is not None]
    records = [record for record in records if record.get("rows")]
    if not records:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.traffic first")
    lines = [_INTRODUCTION.format(line=LINE_BYTES), "", machine_note(records[-1]["rows"][-1]["environment"])]
    lines += ["Made by `python -m benchmarks.traffic`.", ""]
    for record in records:
        lines += [f"## {record['network']}, plan for {_kib(record['buffer_bytes'])}", "", *tables(record["rows"])]
    return lines


def tables(rows: list[Row]) -> list[str]:
    """Totals and savings, parts of the network, and groups by how much of the cache they fill."""
    return [*_totals(rows), *_parts(rows), *_fills(rows)]


def _totals(rows: list[Row]) -> list[str]:
    header = (
        "cache", "compulsory MB", "model unfused", "fused", "saves", "measured unfused", "fused", "saves",
        "of predicted", "layer by layer aside", "unfused below model", "fused beyond model",
    )  # fmt: skip
    lines = []
    for unfused, fused in pairs(rows):
        found = saving(unfused, fused)
        model = (fused["compulsory_dram_bytes"], unfused["model_dram_bytes"], fused["model_dram_bytes"])
        measured = (measured_bytes(unfused), measured_bytes(fused), found["measured_bytes"])
        apart = (found["unfused_below_model_bytes"], found["fused_beyond_model_bytes"])
        sizes = (*model, found["predicted_bytes"], *measured)
        ratios = [_percent(found[key]) for key in ("ratio", "line_buffer_ratio")]
        lines.append((_kib(fused["cache_bytes"]), *map(_mb, sizes), *ratios, *map(_mb, apart)))
    return markdown_table(header, lines)


def _parts(rows: list[Row]) -> list[str]:
    """Copies of rows and weights that LLVM makes calls of memcpy belong to the groups, though counted outside."""
    header = (
        "cache",
        "plan",
        "part",
        "groups",
        "model reads MB",
        "measured",
        "model writes MB",
        "measured",
        "on chip MB",
    )
    lines = []
    for row in [row for pair in pairs(rows) for row in pair]:
        place = (_kib(row["cache_bytes"]), row["plan"])
        rest = {kind: measured_bytes(row, kind) for kind in ("reads", "writes")}
        for part, belongs in PARTS.items():
            found = part_bytes([group for group in groups_of(row) if belongs(group)])
            rest = {kind: rest[kind] - found[kind] for kind in rest}
            if found["groups"]:
                figures = [_mb(found[key]) for key in ("model_reads", "reads", "model_writes", "writes", "kept")]
                lines.append((*place, part, str(found["groups"]), *figures))
        lines.append((*place, "memcpy, and outside groups", "", "", _mb(rest["reads"]), "", _mb(rest["writes"]), ""))
    return markdown_table(header, lines)


def _fills(rows: list[Row]) -> list[str]:
    """Why line buffers lose: a cache replaces the oldest line, the fuller it is the more often one of a buffer."""
    lines = []
    for row in [row for pair in pairs(rows) for row in pair]:
        cells = []
        lowered = [group for group in groups_of(row) if PARTS["line buffers"](group)]
        for low, high in pairwise(FILLS):
            found = part_bytes([g for g in lowered if low < g["buffer_bytes"] / row["cache_bytes"] <= high])
            model = found["model_reads"] + found["model_writes"]
            cache = found["reads"] + found["writes"]
            cells.append(f"{cache / model:.2f} ({found['groups']} groups, {_mb(model)} MB)" if model else "")
        lines.append((_kib(row["cache_bytes"]), row["plan"], *cells))
    ends = [
        f"measured / model, buffers {100 * low:g} to {100 * high:g} % of the cache" for low, high in pairwise(FILLS)
    ]
    return markdown_table(("cache", "plan", *ends), lines)


def _kib(size: int) -> str:
    return f"{size / 1024:g} KiB"


def _mb(size: float) -> str:
    return f"{size / 1e6:.2f}"


def _percent(ratio: float | None) -> str:
    return "" if ratio is None else f"{100 * ratio:.0f} %"
