"""The ladder: what every set of schemes moves, computes again, and would take in time and energy.

Example: python -m benchmarks.ladder --nets efficientnet_b3@300=256KiB

Every plan is proven optimal or says that it is not. Results are written as they come; a second call does only what is
missing. ``python -m benchmarks.ladder --markdown > docs/ladder.md`` makes the page.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import Accelerator, load_accelerator
from tvm_fusion.cost_models.evaluation import PlanEvaluation, evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError, NoAnswerError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.reports.record import Record, output_folder, read_record
from tvm_fusion.reports.scheme_shares import scheme_shares
from tvm_fusion.search.pareto import pareto_front

RESULTS = Path(__file__).parent / "ladder"
FILE = "ladder.json"
OPTIMISTIC = "optimistic.json"  # by benchmarks/optimistic.py
NETS = ("efficientnet_b3@300=256KiB", "mobilenetv2_100@224=128KiB", "resnet18@224=128KiB")
PRESETS = ("edge", "gemmini")
Row = dict[str, Any]
# Name, schemes, objective, recomputation.
STEPS = (
    ("lbdf", "lbdf", "dram", True),
    ("brr", "brr", "dram", True),
    ("lbdf, brr", "lbdf,brr", "dram", True),
    ("lbdf, brr, two-pass", "lbdf,brr,two-pass", "dram", True),
    ("auto, nothing computed again", "auto", "dram", False),
    ("auto", "auto", "dram", True),
    ("auto by energy", "auto", "energy", True),
    ("auto by cycles", "auto", "cycles", True),
)

_INTRODUCTION = """\
One row a set of schemes: the plan that `tvm-fusion plan --scheme ... --objective ...` finds, DRAM bytes of the whole
network (8-bit activations and weights, one image), MACs that it executes again in percent of the network's, and the
estimates of time (million cycles) and energy (mJ) for the presets `edge` (4 bytes of DRAM a cycle, 512 MACs) and
`gemmini` (16 bytes, 256 MACs): the roofline and the energies of [accelerator.md](accelerator.md). By cycles and energy,
each preset has a plan of its own. MACs of `brr` are halo rows. "Optimal" is over all acyclic partitions, with the
parameters that each scheme finds for a group ([schemes.md](schemes.md)). Seconds are those of the search.

Only another scheme, or another choice of its parameters, can beat such a plan. What bands could gain is bounded below
each table by the optimum with models that nothing executes as they are (`python -m benchmarks.optimistic`). BRR that
needs no halo: n bands hold an n-th of every tensor, no row is loaded or made twice, any part of the weights may stay.
BRR that keeps its halo: the same, and the lines that LBDF keeps of every tensor stay on chip from band to band. Channel
streaming in bands: weights pass n times, everything else takes an n-th of the memory."""

_GRANTED = {
    "kept-halo": "bands of BRR that keep their halo on chip",
    "free-halo": "bands of BRR that need no halo",
    "free-bands": "channel streaming in bands that need no halo",
}


def measure(graph: OperatorGraph, net: str, buffer: str, step: tuple[str, str, str, bool]) -> Row:
    """One step of the ladder for both presets; by DRAM bytes they share the plan."""
    name, schemes, objective, recompute = step
    row: Row = {"network": net, "buffer": buffer, "step": name, "operators": len(graph)}
    for preset in PRESETS:
        hardware = replace(load_accelerator(preset), buffer_bytes=options.accelerator_of(None, buffer).buffer_bytes)
        wanted = planning.Wanted(scheme=schemes, objective=objective, recompute=recompute, bound_seconds=0.0)
        found = planning.find(graph, hardware, wanted)
        if not found.evaluation.valid:
            raise FusionError(f"{net}: the plan of {name} has a group that does not fit")
        row[preset] = facts(found.evaluation) | {
            "optimal": found.result.optimal, "seconds": round(found.result.seconds, 2),
            "groups_evaluated": found.groups_evaluated,
        }  # fmt: skip
    return row


def facts(evaluation: PlanEvaluation) -> Row:
    """What a row shows of one plan."""
    return {
        "network_dram_bytes": evaluation.network_dram_bytes,
        "recomputed_percent": 100 * evaluation.recomputed_macs / max(1, evaluation.macs - evaluation.recomputed_macs),
        "estimated_cycles": evaluation.estimated_cycles,
        "estimated_energy_pj": evaluation.estimated_energy_pj,
        "groups": len(evaluation.costs),
        "compulsory_dram_bytes": evaluation.compulsory_dram_bytes,
        "schemes": {share.scheme: share.dram_bytes for share in scheme_shares(evaluation)},
    }


def unfused(graph: OperatorGraph, net: str, buffer: str) -> Row:
    """Every operator alone."""
    row: Row = {"network": net, "buffer": buffer, "step": "unfused", "operators": len(graph)}
    plan = PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])
    for preset in PRESETS:
        hardware = replace(load_accelerator(preset), buffer_bytes=options.accelerator_of(None, buffer).buffer_bytes)
        evaluation = evaluate_plan(graph, plan, Oracle(graph, hardware))
        row[preset] = facts(evaluation) | {"optimal": False, "seconds": 0.0, "groups_evaluated": len(graph)}
    return row


def front(graph: OperatorGraph, net: str, buffer: str, hardware: Accelerator) -> Row:
    """DRAM bytes against MACs executed again, in all schemes."""
    points = pareto_front(graph, Oracle(graph, hardware, "auto"), "macs", most_points=12)
    return {
        "network": net, "buffer": buffer, "macs": sum(op.macs * op.batch for op in graph.operators),
        "points": [[point.dram_bytes, point.other, point.optimal] for point in points],
    }  # fmt: skip


def page(folder: Path) -> list[str]:
    """All lines of docs/ladder.md. Raises NoAnswerError if nothing was recorded in ``folder``."""
    record = read_record(folder / FILE)
    rows: list[Row] = (record or {}).get("rows", [])
    if record is None or not rows:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.ladder first")
    optimistic: list[Row] = (read_record(folder / OPTIMISTIC) or {}).get("rows", [])
    made = f"{machine_note(record['environment'])} Made by `python -m benchmarks.ladder`."
    lines = ["# What each scheme brings", "", _INTRODUCTION, "", made, ""]
    for net, buffer in dict.fromkeys((row["network"], row["buffer"]) for row in rows):
        chosen = [row for row in rows if (row["network"], row["buffer"]) == (net, buffer)]
        compulsory = chosen[0][PRESETS[0]]["compulsory_dram_bytes"] / 1e6
        lines += [f"## {net}, {buffer}", "", f"{chosen[0]['operators']} operators; compulsory {compulsory:.3f} MB.", ""]
        lines += markdown_table(HEADER, map(cells, chosen))
        for entry in record.get("fronts", []):
            if (entry["network"], entry["buffer"]) == (net, buffer):
                points = "; ".join(
                    f"{moved / 1e6:.3f} MB at {100 * again / max(1, entry['macs']):.1f} %"
                    for moved, again, _ in entry["points"]
                )
                lines += ["", f"Front of DRAM bytes against MACs executed again (all schemes): {points}.", ""]
        granted = [row for row in optimistic if (row["network"], row["buffer"]) == (net, buffer) and row["granted"]]
        if granted:
            bounds = (
                f"{row['dram_bytes'] / 1e6:.3f} MB with {' and '.join(_GRANTED[name] for name in row['granted'])}"
                for row in granted
            )
            lines += [f"What bands could gain at most: the optimum is {'; '.join(bounds)}.", ""]
    return lines


def summary(folder: Path) -> list[str]:
    """The README's table: one row a set of schemes, one column a network. Raises NoAnswerError without results."""
    rows: list[Row] = (read_record(folder / FILE) or {}).get("rows", [])
    if not rows:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.ladder first")
    places = list(dict.fromkeys((row["network"], row["buffer"]) for row in rows))
    found = {(row["network"], row["buffer"], row["step"]): row[PRESETS[0]] for row in rows}
    steps = ["unfused", *(step[0] for step in STEPS if step[2] == "dram")]
    lines = []
    for step in steps:
        line = [step]
        for place in places:
            entry = found.get((*place, step))
            again = (
                f", {entry['recomputed_percent']:.0f} % again" if entry and entry["recomputed_percent"] >= 0.5 else ""
            )
            line.append(f"{entry['network_dram_bytes'] / 1e6:.2f}{again}" if entry else "")
        lines.append(tuple(line))
    least = {place: found[(*place, "unfused")]["compulsory_dram_bytes"] for place in places}
    lines.append(("compulsory", *(f"{least[place] / 1e6:.2f}" for place in places)))
    return markdown_table(("schemes", *(f"{net}, {buffer}" for net, buffer in places)), lines)


HEADER = (
    "schemes", "DRAM MB", "of compulsory", "MACs again", "groups", "Mcycles edge", "mJ edge", "Mcycles gemmini",
    "mJ gemmini", "proven", "s",
)  # fmt: skip


def cells(row: Row) -> tuple[str, ...]:
    """One row of the table: figures of ``edge``, and those of ``gemmini`` where they differ."""
    edge, gemmini = (row[preset] for preset in PRESETS)
    moved = f"{edge['network_dram_bytes'] / 1e6:.3f}"
    again = f"{edge['recomputed_percent']:.1f} %"
    if gemmini["network_dram_bytes"] != edge["network_dram_bytes"]:
        moved += f" / {gemmini['network_dram_bytes'] / 1e6:.3f}"
        again += f" / {gemmini['recomputed_percent']:.1f} %"
    times = edge["network_dram_bytes"] / edge["compulsory_dram_bytes"]
    estimates = [
        text
        for entry in (edge, gemmini)
        for text in (f"{entry['estimated_cycles'] / 1e6:.3f}", f"{entry['estimated_energy_pj'] / 1e9:.3f}")
    ]
    proven = "optimal" if edge["optimal"] and gemmini["optimal"] else ""
    return (
        row["step"], moved, f"{times:.2f} x", again, str(edge["groups"]), *estimates, proven, f"{edge['seconds']:.1f}",
    )  # fmt: skip


def main(
    nets: Annotated[str, typer.Option("--nets", help="NET=BUFFER, by comma.")] = ",".join(NETS),
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/ladder)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
) -> int:
    """Measure what is missing, or print the page."""
    if table:
        print("\n".join(page(output or RESULTS)))
        return 0
    wanted = [net_and_buffer(entry) for entry in options.parse_list(nets, "--nets")]
    path = output_folder(output or RESULTS, RESULTS, "") / FILE
    earlier = {} if again else read_record(path) or {}
    rows, fronts = list(earlier.get("rows", [])), list(earlier.get("fronts", []))
    record = Record(path, rows=rows, fronts=fronts)
    for net, buffer in wanted:
        done = {row["step"] for row in rows if (row["network"], row["buffer"]) == (net, buffer)}
        missing = [step for step in STEPS if step[0] not in done]
        front_done = any((entry["network"], entry["buffer"]) == (net, buffer) for entry in fronts)
        if not missing and front_done:
            continue
        graph = session.load_graph(net, 1, verbose=False)
        if "unfused" not in done:
            rows.append(unfused(graph, net, buffer))
        for step in missing:
            rows.append(measure(graph, net, buffer, step))
            record.add(rows=rows)
            print(" ".join(cells(rows[-1])), flush=True)
        if not front_done:
            fronts.append(front(graph, net, buffer, options.accelerator_of(None, buffer)))
            record.add(fronts=fronts)
    return 0


def net_and_buffer(entry: str) -> tuple[str, str]:
    """The parts of "NET=BUFFER". Raises FusionError for anything else."""
    net, equals, buffer = entry.partition("=")
    if not equals:
        raise FusionError(f"--nets {entry!r} is not NET=BUFFER, such as {NETS[0]}")
    options.accelerator_of(None, buffer)
    return net, buffer


if __name__ == "__main__":
    sys.exit(run_program(main))
