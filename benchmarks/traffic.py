"""How much of the saving that the cost model predicts a cache sees: misses of compiled networks, fused and unfused.

Example: python -m benchmarks.traffic --net efficientnet_b3@300

Compiles the best plan and the plan of one operator a group, both by LowerLineBuffer, which takes what executes layer by
layer too (TVM's default lowering loses so much by its loop order that it would flatter us), and runs them under
valgrind's cachegrind with a last level the size of the buffer, and twice that. Misses x 64 bytes, start-up subtracted,
stand against the model's bytes at the network's own element widths. Each measurement is written to ``traffic/NET.json``
as it ends; a second call does only what is missing. ``python -m benchmarks.traffic --markdown > docs/traffic.md`` makes
the page.
"""

from __future__ import annotations

import platform
import sys
import tempfile
import time
from dataclasses import asdict
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.run import progress
from benchmarks.runner import cachegrind
from benchmarks.runner.build import build_runner
from benchmarks.traffic_tables import PLANS, group_text, measured_bytes, page, tables
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import parse_size
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, file_name, output_folder, read_record

RESULTS = Path(__file__).parent / "traffic"
NET, BUFFER = "efficientnet_b3@300", "256KiB"
CACHE_TIMES = (1, 2)
# A record is of one setting of these; its rows are told apart by plan and cache.
KEYS = ("network", "buffer_bytes", "algorithm", "cpu")
Row = dict[str, Any]


class Compiled:
    """Both plans of one network as libraries, compiled when first asked for and checked against each other."""

    def __init__(self, net: str, buffer_bytes: int, algorithm: str, cpu: str, folder: Path) -> None:
        from benchmarks.lowered_plan import at_own_widths, llvm_target
        from tvm_fusion.cli import building

        self.accelerator, self.algorithm = at_own_widths(buffer_bytes), algorithm
        self.target, self.folder = llvm_target(cpu), folder
        self.network = building.load(net, 1, seed=0)

    @cached_property
    def plans(self) -> dict[str, dict[str, Any]]:
        """Library, evaluation and groups by plan. Raises FusionError if a byte or a result differs."""
        from benchmarks.lowered_plan import lower_plan, one_operator_a_group
        from tvm_fusion.cost_models.evaluation import evaluate_plan
        from tvm_fusion.cost_models.oracle import Oracle
        from tvm_fusion.passes.compile_plan import build_lowered
        from tvm_fusion.passes.execute import largest_relative_error, random_inputs, run_executable

        graph, module = self.network.graph, self.network.module
        wanted = planning.Wanted(algorithm=self.algorithm, scheme="lbdf")
        best = planning.find(graph, self.accelerator, wanted).result.plan
        found, results = {}, []
        for name, plan in zip(PLANS, (one_operator_a_group(graph), best), strict=True):
            lowered = lower_plan(module, graph, plan, self.accelerator, self.target)
            if lowered.mismatch:
                raise FusionError(lowered.mismatch)
            executable = build_lowered(lowered.module, self.target)
            library = self.folder / f"{name}.so"
            executable.export_library(str(library))
            results.append(run_executable(executable, random_inputs(module)))
            evaluation = evaluate_plan(graph, plan, Oracle(graph, self.accelerator))
            found[name] = {"library": library, "evaluation": evaluation, "groups": lowered.groups}
        error = largest_relative_error(results[1], results[0])
        if not error <= 1e-4:
            raise FusionError(f"fused and unfused results differ by {error:.1e}; their traffic says nothing")
        return found

    def inputs(self) -> list[str]:
        """The parameters of ``main`` as the runner takes them: "float32:1x3x224x224"."""
        return [
            f"{parameter.ty.dtype}:{'x'.join(str(int(size)) for size in parameter.ty.shape)}"
            for parameter in self.network.module["main"].params
        ]


def measure(compiled: Compiled, runner: Path, plan: str, cache_bytes: int) -> Row:
    """The misses of one plan in one cache, in total and by group."""
    facts = compiled.plans[plan]
    begin = time.perf_counter()
    counts = cachegrind.one_run(runner, facts["library"], compiled.inputs(), cache_bytes, compiled.folder)
    groups = []
    for group in facts["groups"]:
        found = counts.groups.get(group.group)
        if found is None:
            raise FusionError(f"cachegrind saw no function of group {group.group}; was the library stripped?")
        groups.append(group_text(asdict(group) | {"reads": found.reads, "writes": found.writes}))
    total, evaluation = counts.total, facts["evaluation"]
    return {
        "plan": plan,
        "cache_bytes": cache_bytes,
        "model_dram_bytes": evaluation.network_dram_bytes,
        "compulsory_dram_bytes": evaluation.compulsory_dram_bytes,
        "misses": {"reads": total.reads, "writes": total.writes, "instruction_reads": total.instruction_misses},
        "instructions": total.instructions,
        "seconds": round(time.perf_counter() - begin, 1),
        "groups": groups,
    }


def default_cpu() -> str:
    """A processor with vectors of 256 bits on x86: valgrind knows no AVX-512. "" elsewhere: what LLVM takes."""
    return "haswell" if platform.machine() in ("x86_64", "AMD64") else ""


def main(
    net: Annotated[str, typer.Option("--net", help="A name or a file.")] = NET,
    buffer: Annotated[str, typer.Option("--buffer", metavar="SIZE", help="Of the plan, and of the cache.")] = BUFFER,
    algorithm: options.Algorithm = "best",
    cpu: Annotated[str, typer.Option("--cpu", help="TVM's mcpu, without AVX-512. (default on x86: haswell)")] = "",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/traffic)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
    verbose: options.Verbose = False,
) -> int:
    """Measure what is missing and print the tables."""
    if table:
        print("\n".join(page(output or RESULTS)))
        return 0
    planning.Wanted(algorithm=algorithm).check()
    size = parse_size(buffer)
    for times in CACHE_TIMES:
        cachegrind.check_cache(size * times)
    cachegrind.check_valgrind()
    settings = dict(zip(KEYS, (net, size, algorithm, cpu or default_cpu()), strict=True))
    path = output_folder(output or RESULTS, RESULTS, "") / f"{file_name(net)}.json"
    earlier = read_record(path) or {}
    record = Record(path, **settings)
    same = all(earlier.get(key) == settings[key] for key in KEYS)
    rows: list[Row] = list(earlier.get("rows", [])) if same else []
    done = {(row["plan"], row["cache_bytes"]) for row in rows}
    wanted = [(plan, size * times) for times in CACHE_TIMES for plan in PLANS]
    missing = [key for key in wanted if key not in done]
    if missing:
        with tempfile.TemporaryDirectory() as place:
            runner = build_runner(Path(place))
            with session.quiet(verbose):
                compiled = Compiled(net, size, algorithm, settings["cpu"], Path(place))
                _ = compiled.plans
            progress(f"compiled {net}: fused and unfused give the same results")
            for plan, cache_bytes in missing:
                # Rows of one file may come from several calls, each with its own commit and versions.
                row = measure(compiled, runner, plan, cache_bytes) | {"environment": record.data["environment"]}
                rows.append(row)
                record.add(rows=rows)
                what = f"{plan}, cache {cache_bytes / 1024:g} KiB"
                progress(f"{what}: {measured_bytes(row) / 1e6:.2f} MB in {row['seconds']:.0f} s")
    print("\n".join(tables(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
