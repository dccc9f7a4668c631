"""The page docs/peers.md, made of what benchmarks/peers.py recorded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record

Row = dict[str, Any]
OURS = "tvm-fusion"
# What a figure counts, beside the figure.
MODEL, NO_BUFFER = "our model", "our model, without a buffer"
VELA, STREAM = "vela's own estimate", "stream-dse's own estimate"
_INTRODUCTION = """\
# Peers: how many bytes others move

One image, 8-bit activations and weights, the same operators, the same bytes of memory on chip; MB are 10^6 bytes from
and to DRAM, of the whole network. What a figure counts stands beside it:

- **our model**: every group's inputs, outputs and weights, a byte an element, as often as its scheme moves them.
  tvm-fusion searches; the groupings of others are made without regard to our model, and what does not fit the buffer is
  cut: groups of FuseOps operator by operator, all others into the largest prefixes, in topological order, that fit
  under LBDF (or they stay whole where another scheme executes them for less). A group takes the cheapest of the
  schemes named. "a group a block" is the stem, each residual or inverted residual block, and the head.
- **our model, without a buffer**: as if every group fitted, so that what is inside it is free.
- **vela's own estimate**: `dram_total_bytes` in the summary of Arm's compiler for Ethos-U: feature maps as often as
  blocks of the hardware read them again, weights in its compressed coding as often as they are read. Accelerator
  ethos-u85-512, `Ethos_U85_SYS_DRAM_Mid`, `Dedicated_Sram`, `--arena-cache-size` of the buffer, which staging, weight
  buffers and cascades share. The .tflite file has int8 random weights (normal, so that they compress), ReLU fused as
  TFLite does it, and SAME padding.
- **stream-dse's own estimate**: off-chip energy of its schedule where only a bit from or to DRAM costs energy, for the
  network's ONNX file on one core (16 x 32 MACs) with the buffer for inputs, weights and outputs
  (`benchmarks/stream_child.py`). Its user chooses what is fused line by line: here nothing, the first tenth, quarter or
  half of the layers, or all. Free there are activations (SiLU is made one operator for it), products of tensors of
  different shape, and averages over a whole map that torch exports as ReduceMean: a squeeze-and-excite does not hold
  its map until the average is there, so the figures for EfficientNet-B3 are those of an easier network and compare
  with nothing else here. With a buffer of 32 MiB it gives ResNet-18's compulsory traffic, 11.84 MB.

TFLite has no SiLU. A file as converters write it has LOGISTIC and MUL, whose operand vela reads twice. In "SiLU as a
table" HARD_SWISH stands in its place, one table look-up in int8, as SiLU would be: the file has as many operators as
our graph. "groups of vela" are its cascades, and operations with what is chained to them, in our model; a feature map
that vela keeps in SRAM from one of them to another is moved there. "for size" is its `--optimise Size`, without is its
default, `Performance`."""


def page(folder: Path) -> list[str]:
    """All lines. Raises NoAnswerError if nothing was recorded in ``folder``."""
    records = [record for path in sorted(folder.glob("*.json")) if (record := read_record(path)) is not None]
    records = [record for record in records if record.get("rows")]
    if not records:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.peers first")
    lines = [_INTRODUCTION, "", machine_note(records[-1]["rows"][0]["environment"])]
    lines += ["Made by `python -m benchmarks.peers`.", ""]
    for record in records:
        lines += table(record)
    return lines


def table(record: Row) -> list[str]:
    """One network: a row a method, and what vela says of itself."""
    buffer = record["accelerator"]["buffer_bytes"] / 1024
    rows = record["rows"]
    moving = [row for row in rows if "dram_bytes" in row]
    best = min((row["dram_bytes"] for row in rows if row["method"] == OURS), default=None)
    compulsory = record["compulsory_dram_bytes"]
    lines = [
        f"## {record['network']}, {buffer:g} KiB",
        "",
        f"{record['operators']} operators, {record['macs'] / 1e6:.1f} million MACs; no plan moves less than "
        f"{compulsory / 1e6:.2f} MB (compulsory).",
        "",
    ]
    header = ("method", "schemes", "MB", "of our best", "MB count", "groups", "cut", "proof", "seconds")
    lines += markdown_table(header, [_cells(row, best) for row in moving])
    lines += [line for row in rows if (line := _vela_note(row, record))]
    lines += [f"- {row['method']} does not run: {row['problem']}" for row in rows if "problem" in row]
    return lines + _again(rows)


def _cells(row: Row, best: int | None) -> tuple[str, ...]:
    return (
        row["method"],
        " ".join(row["schemes"]) if row["choice"] != "auto" else f"auto: {' '.join(row['schemes'])}",
        f"{row['dram_bytes'] / 1e6:.2f}",
        f"{row['dram_bytes'] / best:.2f} x" if best else "",
        _counted(row),
        str(row.get("groups", "")),
        f"{row['groups_cut']} of {row['proposed_groups']}" if "groups_cut" in row else "",
        _proof(row),
        f"{row['seconds']:.1f}",
    )


def _counted(row: Row) -> str:
    if "vela_macs" in row:
        return f"{VELA} ({row['version']})"
    if "stream_version" in row:
        return f"{STREAM} ({row['stream_version']['stream-dse']})"
    return MODEL if row["choice"] else NO_BUFFER


def _proof(row: Row) -> str:
    if row["method"] != OURS:
        return ""
    if not row["optimal"]:
        return f"none; at most {100 * (row['dram_bytes'] / row['bound_bytes'] - 1):.1f} % above the optimum"
    heuristics = row["chosen_by_heuristics"]
    return "optimal" + (f", with the choices that {' and '.join(heuristics)} found" if heuristics else "")


def _vela_note(row: Row, record: Row) -> str:
    """What a row of vela is made of, and whether its count of MACs is that of the same network."""
    if "vela_macs" not in row:
        return ""
    moved = {part: row[f"dram_{part}_bytes"] / 1e6 for part in ("feature_map_read", "feature_map_write", "weight_read")}
    fallen = f", {row['operators_on_cpu']} left to the CPU" if row["operators_on_cpu"] else ""
    weighted, other = row["vela_weighted_macs"], row["vela_macs"] - row["vela_weighted_macs"]
    same = "as many as ours" if weighted == record["macs"] else f"NOT the {record['macs']:,} of ours"
    more = f"{weighted:,} MACs with weights by its count, {same}, and {other:,} of pooling and tables"
    return (
        f"- {row['method']}: reads {moved['feature_map_read']:.2f} and writes {moved['feature_map_write']:.2f} MB of "
        f"feature maps, reads {moved['weight_read']:.2f} MB of weights ({row['encoded_weight_bytes'] / 1e6:.2f} MB "
        f"compressed), {row['sram_used_bytes'] / 1024:.1f} KiB of SRAM; {row['file_operators']} operators in the file"
        f"{fallen}; {more}."
    )


def _again(rows: list[Row]) -> list[str]:
    """Arithmetic that our plans execute again."""
    again = {" ".join(row["schemes"]): row["recomputed_macs"] for row in rows if row.get("recomputed_macs")}
    lines = [f"- {schemes}: {macs / 1e6:.1f} million MACs are executed again." for schemes, macs in again.items()]
    return [*lines, ""] if lines else [""]
