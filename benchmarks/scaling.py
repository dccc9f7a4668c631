"""How search time grows with the number of operators: a network whose blocks are repeated.

Example: python -m benchmarks.scaling --sizes 250,500,1000,2000 --schemes auto

Results are written as they come; a second call does only what is missing. ``--markdown`` prints docs/scaling.md,
``--png FILE`` draws it.
"""

from __future__ import annotations

import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError, NoAnswerError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.figures import new_figure, write_png
from tvm_fusion.reports.record import Record, output_folder, read_record

RESULTS = Path(__file__).parent / "scaling"
FILE = "scaling.json"
NETS = ("resnet152@224", "efficientnet_b3@300")
SIZES = (250, 500, 1000, 2000)
Row = dict[str, Any]

_INTRODUCTION = """\
Networks whose middle block is repeated until they have so many operators; `--algorithm best`, buffer 256 KiB, 8-bit
activations and weights. Groups are those that were asked about, seconds those of the search."""


def repeated(graph: OperatorGraph, operators: int) -> OperatorGraph:
    """The graph with its most frequent block again and again, until it has at least so many operators.

    Raises FusionError if it has no block that could follow itself.
    """
    before, end = _block(graph)
    length = end - before
    times = max(0, -(-(operators - len(graph)) // length))
    found = list(graph.operators[: end + 1])
    for k in range(1, times + 1):
        for op in graph.operators[before + 1 : end + 1]:
            inputs = tuple(i + length * k if i >= before else i for i in op.inputs)
            found.append(replace(op, id=op.id + length * k, name=f"{op.name}_{k}", inputs=inputs))
    shift = length * times
    for op in graph.operators[end + 1 :]:
        inputs = tuple(i + shift if i >= end else i for i in op.inputs)
        found.append(replace(op, id=op.id + shift, inputs=inputs))
    outputs = tuple(i + shift if i >= end else i for i in graph.outputs)
    return replace(graph, name=f"{graph.name}_{len(found)}", operators=tuple(found), outputs=outputs)


def _block(graph: OperatorGraph) -> tuple[int, int]:
    """(a, b): operators a + 1 .. b read nothing earlier than a, nothing later reads them but b, and b is like a."""
    ends = [k for k in range(len(graph)) if _alive(graph, k) == [k]]
    like = Counter((graph.operators[k].type, graph.operators[k].shape) for k in ends)
    for (kind, shape), count in like.most_common():
        same = [k for k in ends if (graph.operators[k].type, graph.operators[k].shape) == (kind, shape)]
        if count > 1 and same[1] - same[0] > 1:
            return same[0], same[1]
    raise FusionError(f"network {graph.name!r} has no block that could be repeated")


def _alive(graph: OperatorGraph, k: int) -> list[int]:
    tensors = range(-len(graph.inputs), k + 1)
    return [i for i in tensors if any(c > k for c in graph.consumers[i]) or (i in graph.outputs and i < k)]


def page(folder: Path) -> list[str]:
    """All lines of docs/scaling.md. Raises NoAnswerError if nothing was recorded in ``folder``."""
    record = read_record(folder / FILE)
    if record is None or not record.get("rows"):
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.scaling first")
    made = f"{machine_note(record['environment'])} Made by `python -m benchmarks.scaling`."
    lines = ["# How search time grows", "", _INTRODUCTION, "", made, "", "![Seconds by operators](scaling.png)", ""]
    header = ("network", "schemes", "operators", "DRAM MB", "proven", "groups", "seconds", "new groups a second")
    return lines + markdown_table(header, map(_cells, record["rows"]))


def _cells(row: Row) -> tuple[str, ...]:
    return (
        row["network"], row["schemes"], str(row["operators"]), f"{row['network_dram_bytes'] / 1e6:.2f}",
        "optimal" if row["optimal"] else "", f"{row['groups_evaluated']:,}", f"{row['seconds']:.1f}",
        f"{row['groups_evaluated'] / max(row['oracle_seconds'], 1e-9):,.0f}",
    )  # fmt: skip


def plot(folder: Path, path: Path) -> None:
    """Draw seconds by operators. Raises FusionError without results or matplotlib."""
    rows = (read_record(folder / FILE) or {}).get("rows", [])
    if not rows:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.scaling first")
    figure = new_figure(width=7.5, height=4.5)
    axes = figure.add_subplot()
    for net, schemes in dict.fromkeys((row["network"], row["schemes"]) for row in rows):
        line = sorted((r["operators"], r["seconds"]) for r in rows if (r["network"], r["schemes"]) == (net, schemes))
        axes.plot(*zip(*line, strict=True), "o-", label=f"{net}, {schemes}")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("operators")
    axes.set_ylabel("seconds of the search")
    axes.legend()
    write_png(figure, path)


def main(
    nets: Annotated[str, typer.Option("--nets", help="By comma.")] = ",".join(NETS),
    sizes: Annotated[str, typer.Option("--sizes", help="Least operators, by comma.")] = ",".join(map(str, SIZES)),
    schemes: Annotated[
        list[str] | None, typer.Option("--schemes", help="May be repeated. (default: lbdf and auto)")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/scaling)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
    png: Annotated[Path | None, typer.Option("--png", help="Draw what was measured.")] = None,
) -> int:
    """Measure what is missing, print the page, or draw it."""
    if table or png:
        if table:
            print("\n".join(page(output or RESULTS)))
        if png:
            plot(output or RESULTS, png)
        return 0
    wanted = [options.whole("--sizes", 1)(entry) for entry in options.parse_list(sizes, "--sizes")]
    chosen = schemes or ["lbdf", "auto"]
    for entry in chosen:
        options.check_scheme(entry)
    path = output_folder(output or RESULTS, RESULTS, "") / FILE
    rows: list[Row] = [] if again else list((read_record(path) or {}).get("rows", []))
    record = Record(path, rows=rows)
    hardware = options.accelerator_of(None, "256KiB")
    done = {(row["network"], row["schemes"], row["least"]) for row in rows}
    for net in options.parse_list(nets, "--nets"):
        missing = [(size, entry) for size in wanted for entry in chosen if (net, entry, size) not in done]
        graph = session.load_graph(net, 1, verbose=False) if missing else None
        for size, entry in missing:
            assert graph is not None
            found = planning.find(repeated(graph, size), hardware, planning.Wanted(scheme=entry, bound_seconds=0.0))
            result = found.result
            rows.append(
                {
                    "network": net, "schemes": entry, "least": size, "operators": len(found.graph),
                    "network_dram_bytes": result.network_dram_bytes, "optimal": result.optimal,
                    "seconds": round(result.seconds, 2), "oracle_seconds": round(result.oracle_seconds, 3),
                    "groups_evaluated": found.groups_evaluated,
                }
            )  # fmt: skip
            record.add(rows=rows)
            print(" ".join(_cells(rows[-1])), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
