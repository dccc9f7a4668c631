"""Which operators go row by row: every operator of every network of the zoo, lowered as a group of its own.

Example: python -m benchmarks.lowered_operators --only resnet18@64,vit_tiny_patch16_224

Nothing is compiled. With all the buffer that it wants, an operator alone is an LBDF group; what the lowering says of
it, and whether VerifyMemory finds the model's bytes, is counted by type. Rows are written to
``lowered/operators.json`` as they come; a second call does only what is missing.
"""

from __future__ import annotations

import sys
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks import zoo
from benchmarks.lowered import RESULTS
from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, output_folder, read_record

FILE = "operators.json"
UNBOUNDED_BYTES = 10**12
Row = dict[str, Any]


def count(module: Any, graph: Any) -> Row:
    """By operator type: how many there are, how many were lowered, and the reasons for the others."""
    from benchmarks.lowered_plan import at_own_widths, lower_plan, one_operator_a_group

    lowered = lower_plan(module, graph, one_operator_a_group(graph), at_own_widths(UNBOUNDED_BYTES))
    types: dict[str, dict[str, Any]] = defaultdict(lambda: {"met": 0, "lowered": 0, "reasons": Counter()})
    for group in lowered.groups:
        found = types[graph.operators[group.operators[0]].type]
        found["met"] += 1
        found["lowered"] += group.lowered
        if not group.lowered:
            found["reasons"][group.reason] += 1
    return {"operators": len(graph), "mismatch": lowered.mismatch, "types": dict(sorted(types.items()))}


def main(
    only: Annotated[str | None, typer.Option("--only", help="Names of the zoo by comma instead of all.")] = None,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier call has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/lowered)")] = None,
) -> int:
    """Count which operators of the zoo lower; exit code 1 if a network fails or moves other bytes than the model's."""
    table = zoo.networks()
    names = options.parse_list(only, "--only") if only is not None else list(table)
    for name in names:
        if name not in table:
            raise FusionError(f"network {name!r} is not in the zoo; allowed: {', '.join(table)}")
    from tvm_fusion.cli import building

    path = output_folder(output or RESULTS, RESULTS, "") / FILE
    rows: dict[str, Row] = {row["network"]: row for row in (read_record(path) or {}).get("rows", [])}
    record = Record(path)
    for name in names:
        if name in rows and not again:
            continue
        begin = time.perf_counter()
        row: Row = {"network": name}
        try:
            with session.quiet(verbose=False):
                network = building.load(table[name][1], 1, seed=0)
                row |= count(network.module, network.graph)
        except Exception as problem:  # one network more or less
            row["problem"] = f"{type(problem).__name__}: {(str(problem).strip().splitlines() or [''])[-1]}"
        row |= {"seconds": round(time.perf_counter() - begin, 1), "commit": record.data["environment"]["commit"]}
        rows[name] = row
        record.add(rows=list(rows.values()))
        print(f"{name}: {verdict(row)}", flush=True)
    return 0 if all(not rows[name].get("problem") and not rows[name].get("mismatch") for name in names) else 1


def verdict(row: Row) -> str:
    """One line: what came out."""
    if "problem" in row:
        return str(row["problem"])
    made = sum(found["lowered"] for found in row["types"].values())
    return f"{made} of {row['operators']} operators{', ' + row['mismatch'] if row['mismatch'] else ''}"


if __name__ == "__main__":
    sys.exit(run_program(main))
