"""How far from the optimum the best plans are: a search, then a lower bound, for networks, buffers and sets of schemes.

Example: python -m benchmarks.optimality --nets hrnet_w18_small@224 --buffers 256KiB --schemes lbdf --bound-seconds 60

Results are written as they come; a second call does only what is missing.
``python -m benchmarks.optimality --markdown > docs/optimality.md`` makes the page.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.many_ideals import RANDWIRED, randomly_wired
from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import parse_size
from tvm_fusion.errors import FusionError, NoAnswerError
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.record import Record, output_folder, read_record
from tvm_fusion.search.proof import most_above_percent

RESULTS = Path(__file__).parent / "optimality"
FILE = "optimality.json"
NETS = (
    "mobilenetv2_100@224", "resnet18@224", "resnet50@224", "resnet152@224", "vgg16@224", "squeezenet1_1@224",
    "efficientnet_b0@224", "efficientnet_b3@300", "deeplabv3_mobilenet_v3_large@513", "inception_v3@299",
    "hrnet_w18_small@224", "nasnetalarge@331", RANDWIRED,
)  # fmt: skip
BUFFERS = ("128KiB", "256KiB", "512KiB")
KEY = ("network", "buffer", "schemes")
Row = dict[str, Any]

_INTRODUCTION = """\
The best plan that `--algorithm best`, or the lower bound after it, found and what no plan goes below: the plan itself
where the shortest path over the ideals proves it. Else, in LBDF alone, the bound of prices; in other schemes the value
below which that path refutes every plan, within `--bound-seconds`. Without a limit it goes further: on Inception-v3 at
256 KiB, `exact` proves that 34.046 MB is the optimum of all schemes, after 55 minutes beside other work (12 GB).

"Above" is the most that the plan is above the optimum of its schemes, over all acyclic partitions into connected
groups, each in the cheapest of these schemes. 8-bit activations and weights, one image, DRAM bytes of the whole
network. Seconds are those of the clock beside other work on the machine."""


def measure(
    graph: OperatorGraph, net: str, buffer: str, schemes: str, seeds: list[int], budget: int, bound_seconds: float
) -> Row:
    """The best plan of several seeds, with a bound for the best of them if its search proves nothing."""
    hardware = options.accelerator_of(None, buffer)
    best, seconds, seed = None, 0.0, seeds[0]
    at_once = bound_seconds if len(seeds) == 1 else 0.0
    for candidate in seeds:
        wanted = planning.Wanted(budget_plans=budget, seed=candidate, scheme=schemes, bound_seconds=at_once)
        found = planning.find(graph, hardware, wanted)
        seconds += found.result.seconds
        if best is None or found.result.network_dram_bytes < best.result.network_dram_bytes:
            best, seed = found, candidate
        if best.result.optimal:
            break
    assert best is not None, "there is at least one seed"
    if not best.result.optimal and bound_seconds and not at_once:
        # Again, now with the bound, which learns from the groups that this search meets.
        wanted = planning.Wanted(budget_plans=budget, seed=seed, scheme=schemes, bound_seconds=bound_seconds)
        best = planning.find(graph, hardware, wanted)
    if not best.evaluation.valid:
        raise FusionError(f"{net}: the plan for {buffer} has a group that does not fit")
    result = best.result
    return {
        "network": net, "buffer": buffer, "schemes": schemes, "operators": len(graph), "seeds": len(seeds),
        "network_dram_bytes": result.network_dram_bytes, "lower_bound_bytes": result.lower_bound_bytes,
        "unfused_dram_bytes": best.evaluation.unfused_dram_bytes,
        "compulsory_dram_bytes": best.evaluation.compulsory_dram_bytes,
        "optimal": result.optimal, "search_seconds": round(seconds, 1), "bound_seconds": round(result.bound_seconds, 1),
        "certificate": result.bound_certificate, "budget_plans": budget,
    }  # fmt: skip


def page(folder: Path) -> list[str]:
    """All lines of docs/optimality.md. Raises NoAnswerError if nothing was recorded in ``folder``."""
    record = read_record(folder / FILE)
    rows: list[Row] = (record or {}).get("rows", [])
    if record is None or not rows:
        raise NoAnswerError(f"no results in {str(folder)!r}; run benchmarks.optimality first")
    made = f"{machine_note(record['environment'])} Made by `python -m benchmarks.optimality`."
    lines = ["# How far from the optimum the plans are", "", _INTRODUCTION, "", made, ""]
    header = (
        "network", "buffer", "operators", "unfused MB", "plan MB", "lower bound MB", "above", "search s", "bound s",
        "compulsory MB",
    )  # fmt: skip
    for schemes in dict.fromkeys(row["schemes"] for row in rows):
        lines += [f"## {schemes}", ""]
        chosen = [row for row in rows if row["schemes"] == schemes]
        lines += markdown_table(header, map(_cells, sorted(chosen, key=_place)))
    return lines


def _place(row: Row) -> tuple[int, str, int]:
    net = row["network"]
    return NETS.index(net) if net in NETS else len(NETS), net, parse_size(row["buffer"])


def _cells(row: Row) -> tuple[str, ...]:
    percent = most_above_percent(row["network_dram_bytes"], row["lower_bound_bytes"])
    megabytes = (
        f"{row[key] / 1e6:.3f}"
        for key in ("unfused_dram_bytes", "network_dram_bytes", "lower_bound_bytes", "compulsory_dram_bytes")
    )
    unfused, plan, bound, compulsory = megabytes
    above = "optimal" if row["optimal"] else f"{percent:.2f} %"
    seconds = (f"{row[key]:.0f}" for key in ("search_seconds", "bound_seconds"))
    return row["network"], row["buffer"], str(row["operators"]), unfused, plan, bound, above, *seconds, compulsory


def main(
    nets: Annotated[str, typer.Option("--nets", help="Names, files, or randwired; by comma.")] = ",".join(NETS),
    buffers: Annotated[str, typer.Option("--buffers", help="By comma.")] = ",".join(BUFFERS),
    schemes: Annotated[
        list[str] | None, typer.Option("--schemes", help="Schemes by comma, or auto; may be repeated. (default: lbdf)")
    ] = None,
    budget: Annotated[
        int, typer.Option("--budget", parser=options.whole("--budget", 1), metavar="N", help="Plans of a search.")
    ] = 5000,
    seeds: Annotated[str, typer.Option("--seeds", help="By comma; the best plan counts.")] = "0,1,2",
    bound_seconds: Annotated[
        int,
        typer.Option("--bound-seconds", parser=options.whole("--bound-seconds", 0), metavar="N", help="For a bound."),
    ] = 120,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/optimality)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
) -> int:
    """Measure the distance to the optimum, or print the page."""
    seed_list, buffer_list = options.parse_seeds(seeds), options.parse_list(buffers, "--buffers")
    for buffer in buffer_list:
        options.accelerator_of(None, buffer)
    for chosen in schemes or ["lbdf"]:
        options.check_scheme(chosen)
    net_list = options.parse_list(nets, "--nets")
    folder = output_folder(output or RESULTS, RESULTS, "")
    if table:
        print("\n".join(page(folder)))
        return 0
    rows: list[Row] = list((read_record(folder / FILE) or {}).get("rows", []))
    record = Record(folder / FILE)
    for net in net_list:
        done = set() if again else {tuple(row[part] for part in KEY) for row in rows}
        keys = [(net, buffer, chosen) for chosen in schemes or ["lbdf"] for buffer in buffer_list]
        missing = [key for key in keys if key not in done]
        if not missing:
            continue
        graph = randomly_wired() if net == RANDWIRED else session.load_graph(net, 1, verbose=False)
        for key in missing:
            row = measure(graph, *key, seed_list, budget, bound_seconds)
            rows = [*(old for old in rows if tuple(old[part] for part in KEY) != key), row]
            record.add(rows=rows)
            print(" ".join(_cells(row)), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
