"""How good every search, repair and grouping is, and on which graphs a search is needed at all.

Example: python -m benchmarks.methods --tables zoo --nets resnet18@64,light_squeezenet.onnx

What benchmarks/explain.py, many_ideals.py and optimality.py recorded is read and not run again. Results are written as
they come; a second call does only what is missing. ``python -m benchmarks.methods --markdown > docs/methods.md`` makes
the page.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

from benchmarks import optimality, zoo
from benchmarks.explain import RANDOM, SEARCHES, TABLE_BRR, TABLES
from benchmarks.methods_known import FILE, known
from benchmarks.methods_runs import BLOCKS, FUSE_OPS, UNFUSED, Case, Row, Run, Subject, check_repair, execute
from benchmarks.methods_tables import page
from tvm_fusion.cli import options
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, output_folder, read_record

RESULTS = Path(__file__).parent / "methods"
BUFFER, BUDGET = "256KiB", 2000
EXPLAINER = "pgexplainer"
TOO_LONG = "nasnetalarge@331"
AUTO = (("mobilenetv2_100@224", "128KiB"), ("resnet18@224", "128KiB"), ("efficientnet_b0@224", BUFFER),
        ("resnet50@224", BUFFER))  # fmt: skip


@dataclass(frozen=True)
class Table:
    """What a table compares: cases with a budget in plans each, and methods with repairs on each of them."""

    cases: tuple[tuple[Case, int], ...]
    groupings: tuple[str, ...]
    searches: tuple[tuple[str, str], ...]  # (algorithm, repair); "interval-dp 1" takes one order
    unseeded: tuple[str, ...]

    def runs(self, case: Case, budget: int, seeds: list[int]) -> list[Run]:
        """All runs of a case, the seeds outermost."""
        found = [Run(case, name) for name in self.groupings]
        found.append(Run(case, "interval-dp", RANDOM, 1))
        found += [Run(case, name, RANDOM, budget) for name in self.unseeded]
        return found + [Run(case, name, repair, budget, seed) for seed in seeds for name, repair in self.searches]


def tables(nets: list[str] | None, buffer: str | None, budget: int | None, repairs: list[str]) -> dict[str, Table]:
    """The tables by name, of their own networks or of ``nets``."""
    published = {str(net): (str(size), int(plans)) for *names, size, plans in TABLES.values() for net in names}
    searches = tuple((name, repair) for repair in repairs for name in SEARCHES.split(","))

    def cases(
        names: dict[str, tuple[str, int]], schemes: str = "lbdf", *accelerators: str
    ) -> tuple[tuple[Case, int], ...]:
        chosen = names if nets is None else {net: names.get(net, (BUFFER, BUDGET)) for net in nets}
        return tuple(
            (Case(net, buffer or size, schemes, accelerator), budget or plans)
            for accelerator in accelerators or ("edge",)
            for net, (size, plans) in chosen.items()
        )

    *brr, size, plans = TABLE_BRR
    return {
        "networks": Table(
            cases({net: published.get(net, (BUFFER, BUDGET)) for net in optimality.NETS if net != TOO_LONG}),
            (UNFUSED, FUSE_OPS, BLOCKS), searches, ("interval-dp", "best", "exact"),
        ),
        "brr": Table(
            cases({str(net): (str(size), int(plans)) for net in brr}, "brr", "edge", "paper"),
            (UNFUSED, FUSE_OPS, BLOCKS), searches, ("interval-dp", "best", "exact"),
        ),
        "zoo": Table(
            cases(dict.fromkeys(zoo.networks(), (BUFFER, BUDGET))), (FUSE_OPS,),
            (("local-search", RANDOM), ("local-search", EXPLAINER)), ("best", "exact"),
        ),
        "auto": Table(
            cases({net: (size, BUDGET) for net, size in AUTO}, "auto"), (),
            (("local-search", RANDOM), ("nsga2", RANDOM)), ("best",),
        ),
    }  # fmt: skip


def measure(name: str, table: Table, seeds: list[int], folder: Path, again: bool) -> None:
    """Do what is missing of a table, network by network."""
    earlier = read_record(folder / FILE) or {}
    record = Record(folder / FILE, **{key: value for key, value in earlier.items() if key != "environment"})
    subjects: dict[str, Subject] = {}
    for case, budget in table.cases:
        done = set() if again else {Run.of(row) for row in known(folder).rows}
        wanted = table.runs(case, budget, seeds if name in ("networks", "brr") else seeds[:1])
        skipped = record.data.get("skipped", [])
        missing = [run for run in wanted if run not in done and (again or run.key() not in skipped)]
        subject = subjects.setdefault(case.network, Subject(case.network))
        if missing and case.network not in record.data.get("graphs", {}):
            record.add(graphs={**record.data.get("graphs", {}), case.network: subject.facts()})
        shown = record.data.get("tables", {}).get(name, [])
        place = asdict(case) | {"budget_plans": budget}
        if place not in shown:
            record.add(tables={**record.data.get("tables", {}), name: [*shown, place]})
        for run in missing:
            begin = time.perf_counter()
            row = execute(run, subject)
            if row is None:
                record.append("skipped", run.key())
                continue
            rows = [old for old in record.data.get("rows", []) if Run.of(old) != run]
            record.add(rows=[*rows, row])
            print(f"[{time.strftime('%H:%M:%S')}] {_line(run, row)} ({time.perf_counter() - begin:.1f} s)", flush=True)


def _line(run: Run, row: Row) -> str:
    moved = row["network_dram_bytes"]
    what = row["problem"] if moved is None else f"{moved / 1e6:.3f} MB"
    case = run.case
    where = f"{case.network} {case.buffer} {case.schemes} {case.accelerator}"
    return f"{where}: {run.method} {run.repair} {run.budget_plans} seed {run.seed}: {what}"


def main(
    names: Annotated[str, typer.Option("--tables", help="By comma.")] = "networks,brr,zoo,auto",
    nets: Annotated[
        str | None, typer.Option("--nets", help="Names, files, or randwired, by comma, instead of the tables'.")
    ] = None,
    buffer: options.Buffer = None,
    budget: Annotated[
        int | None, typer.Option("--budget", parser=options.whole("--budget", 1), metavar="N", help="Plans a run.")
    ] = None,
    repairs: Annotated[
        str, typer.Option("--repairs", help="Of networks and brr: random, random-edges, explainers; by comma.")
    ] = f"{RANDOM},{EXPLAINER}",
    seeds: Annotated[str, typer.Option("--seeds", help="By comma; zoo and auto take the first.")] = "0,1,2",
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier run has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/methods)")] = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
) -> int:
    """Run what no record has yet, or print the page."""
    seed_list = options.parse_seeds(seeds)
    options.accelerator_of(None, buffer)
    repair_list = options.parse_list(repairs, "--repairs")
    for repair in repair_list:
        check_repair(repair)
    net_list = None if nets is None else options.parse_list(nets, "--nets")
    found = tables(net_list, buffer, budget, repair_list)
    chosen = options.parse_list(names, "--tables")
    for name in chosen:
        if name not in found:
            raise FusionError(f"table {name!r} is not known; allowed: {', '.join(found)}")
    if markdown:
        print("\n".join(page(output or RESULTS)))
        return 0
    folder = output_folder(output or RESULTS, RESULTS, "")
    for name in chosen:
        measure(name, found[name], seed_list, folder, again)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
