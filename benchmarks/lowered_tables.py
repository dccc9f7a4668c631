"""The page docs/lowered.md, made of what benchmarks/lowered.py and benchmarks/lowered_operators.py recorded."""

from __future__ import annotations

from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from benchmarks.lowered import EXTRA, NETWORKS
from benchmarks.lowered_operators import FILE as OPERATORS
from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.reports.record import read_record

Row = dict[str, Any]
_TITLE = "# Plans that execute: what is lowered to line buffers"
_INTRODUCTION = """\
Best plans (`--algorithm best`), the elements as wide as the network's own. `LowerLineBuffer` makes one function of
every LBDF group; `VerifyMemory` reads off its TIR what it holds on chip and moves, and "bytes" says whether that equals
the cost model for every group, to the byte. "Operators" are those of LBDF groups; what is too heavy for the buffer even
alone executes layer by layer and is not counted. "Error" is the largest difference from the network as it was imported,
relative to an output's largest magnitude (also before a last softmax). A quantised network (`+int8`: onnxruntime's
static quantiser, int8, a scale a channel) is compared with its own exact sums, and "steps" is its difference from
onnxruntime in quantisation steps of the output: the least, middle and largest of three images."""
_QUANTIZED = """\
A sum on the edge between two steps falls either way, and a network of random weights makes more of it: "itself" is how
far onnxruntime with its 8-bit operators (`session.qdqisint8allowed`) is from onnxruntime as it is, which computes them
on real numbers on x86. "Operator" is the most that any of our operators is apart from onnxruntime's when both get
onnxruntime's operands, "elements" how many of all elements are."""
_OPERATORS = """\
Every operator of {networks} networks of [networks.md](networks.md) ({operators} operators), lowered as a group of its
own, without a limit of memory; nothing is compiled for this. In a larger group an operator may also be refused for
how others read it. Made by `python -m benchmarks.lowered_operators`."""


def page(folder: Path) -> list[str]:
    """All lines. Raises NoAnswerError if nothing was recorded in ``folder``."""
    records = [record for path in sorted(folder.glob("*.json")) if (record := read_record(path)) is not None]
    networks = [record for record in records if "algorithm" in record and record.get("rows")]
    operators = read_record(folder / OPERATORS)
    if not networks and operators is None:
        raise NoAnswerError(
            f"no results in {str(folder)!r}; run benchmarks.lowered or benchmarks.lowered_operators first"
        )
    lines = [_TITLE, ""]
    if networks:
        order = [*NETWORKS, *EXTRA]
        networks.sort(key=lambda record: order.index(net) if (net := record["network"]) in order else len(order))
        rows = [row for record in networks for row in record["rows"]]
        newest = networks[-1]["environment"]
        lines += [_INTRODUCTION, "", f"{machine_note(newest)} Made by `python -m benchmarks.lowered`.", ""]
        lines += [*networks_table(rows), *refusals_table(rows)]
    if operators is not None:
        lines += ["## Which operators lower", "", *operators_section(operators["rows"])]
    return lines


def networks_table(rows: list[Row]) -> list[str]:
    """A row a network and buffer; below it what failed."""
    header = (
        "network", "buffer", "groups", "LBDF", "lowered", "operators", "lowered", "share", "bytes", "error", "steps",
        "moved MB", "unfused MB", "lower s", "compile s", "unfused s",
    )  # fmt: skip
    good = [row for row in rows if "problem" not in row]
    total = {key: sum(row[key] for row in good) for key in _COUNTED}
    lines = ["## Networks", "", *markdown_table(header, map(_cells, good))]
    if good:
        groups, operators = (_share(total[f"lowered_{what}"], total[of]) for what, of in _PARTS.items())
        lines += [f"Together {groups} of the LBDF groups and {operators} of their operators are lowered.", ""]
    lines += [f"- {row['network']}, {row['buffer']}: {row['problem']}" for row in rows if "problem" in row]
    lines += [f"- {row['network']}, {row['buffer']}: {row['mismatch']}" for row in good if row["mismatch"]]
    lines += [""] if lines[-1] else []
    quantized = {row["network"]: row for row in good if "operator_steps" in row}
    if quantized:
        lines += ["## Quantised networks beside onnxruntime, in steps", "", _QUANTIZED, ""]
        header = ("network", "ours", "itself", "operator", "elements")
        lines += markdown_table(header, map(_quantized_cells, quantized.values()))
    return lines


def _quantized_cells(row: Row) -> tuple[str, ...]:
    apart = (" / ".join(f"{steps:g}" for steps in row[key]) for key in ("steps", "steps_of_runtime"))
    return row["network"], *apart, str(row["operator_steps"]), f"{row['operator_elements_apart']:.0e}"


_PARTS = {"groups": "lbdf_groups", "operators": "fusable_operators"}
_COUNTED = ("lowered_groups", "lowered_operators", *_PARTS.values())


def _cells(row: Row) -> tuple[str, ...]:
    seconds = row["seconds"]
    return (
        row["network"],
        row["buffer"],
        *(str(row[key]) for key in ("groups", "lbdf_groups", "lowered_groups")),
        *(str(row[key]) for key in ("fusable_operators", "lowered_operators")),
        _share(row["lowered_operators"], row["fusable_operators"]),
        "equal" if row["bytes_equal"] else "differ",
        f"{row['largest_relative_error']:.0e}",
        " / ".join(f"{apart:g}" for apart in row.get("steps", [])),
        *(f"{row[key] / 1e6:.2f}" for key in ("network_dram_bytes", "unfused_dram_bytes")),
        *(f"{seconds[key]:.0f}" for key in ("lower", "compile", "compile_unfused")),
    )


def _share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else ""


def refusals_table(rows: list[Row]) -> list[str]:
    """Groups that were left to TVM, by reason and the type of the operator that it is for."""
    groups: Counter[tuple[str, str]] = Counter()
    left: Counter[tuple[str, str]] = Counter()
    where: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in rows:
        for refused in row.get("refused", []):
            key = (refused["reason"], refused["type"])
            groups[key] += 1
            left[key] += refused["operators"]
            where[key].append(row["network"])
    title = ["## Groups left to TVM", ""]
    if not groups:
        return [*title, "None.", ""]
    cells = [
        (reason, kind, str(number), str(left[reason, kind]), ", ".join(dict.fromkeys(where[reason, kind])))
        for (reason, kind), number in groups.most_common()
    ]
    return [*title, *markdown_table(("reason", "operator", "groups", "operators in them", "networks"), cells)]


def operators_section(rows: list[Row]) -> list[str]:
    """By operator type: how many there are, how many go row by row, and why the others do not."""
    met: Counter[str] = Counter()
    made: Counter[str] = Counter()
    reasons: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        for kind, found in row.get("types", {}).items():
            met[kind] += found["met"]
            made[kind] += found["lowered"]
            reasons[kind].update(found["reasons"])
    good = [row for row in rows if "problem" not in row]
    lines = [_OPERATORS.format(networks=len(good), operators=f"{met.total():,}"), ""]
    lines += [f"{made.total():,} of them, {_share(made.total(), met.total())}, go row by row.", ""] if met else []
    cells = [
        (kind, str(met[kind]), str(made[kind]), "; ".join(f"{why} ({n})" for why, n in reasons[kind].most_common()))
        for kind in sorted(met)
    ]
    lines += markdown_table(("operator", "met", "lowered", "why not"), cells)
    failed = [f"- {row['network']}: {row.get('problem') or row['mismatch']}" for row in rows if _failed(row)]
    return [*lines, *failed, ""] if failed else lines


def _failed(row: Row) -> bool:
    return bool(row.get("problem") or row.get("mismatch"))
