"""How fast a compiled plan is beside TVM's default pipelines, torch and onnxruntime: all in one process, in turns.

Example: python -m benchmarks.speed --nets mobilenetv2_100@64 --rounds 3 --threads 1

Every method runs the same weights on the same input; its output is compared with torch's. TVM's columns are all
compiled for the processor of this machine. A child process for each number of threads, since libraries read it when
they start. Rows are written to ``speed/NETWORK.json`` as they come; a second call does only what is missing.
``python -m benchmarks.speed --markdown > docs/speed.md`` makes the page.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.readme import ROOT
from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import parse_size
from tvm_fusion.errors import FusionError
from tvm_fusion.reports.record import Record, file_name, output_folder, read_record

RESULTS = Path(__file__).parent / "speed"
NETS = "mobilenetv2_100@224,efficientnet_b3@300"
OURS = "tvm-fusion"
METHODS = (OURS, "tvm", "tvm FuseOps", "torch", "torch.compile", "onnxruntime")
REFERENCE = "torch"  # whose output the others are compared with
THREAD_VARIABLES = ("TVM_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
PROFILED_RUNS = 5
Row = dict[str, Any]


def contest(
    net: str, buffer: str, algorithm: str, threads: int, rounds: int, methods: list[str], profiled: bool
) -> Row:
    """One row: every method's times, and why those that are missing do not work here."""
    import tvm

    from benchmarks.group_profile import profile
    from benchmarks.speed_methods import Contest, Setting, prepare_all, timed_rounds
    from tvm_fusion.passes.execute import largest_relative_error

    with session.quiet(verbose=False):
        running = Contest(Setting(net, parse_size(buffer), algorithm, threads))
        made, problems = prepare_all(running, [REFERENCE, *(name for name in methods if name != REFERENCE)])
        if REFERENCE not in made:
            raise FusionError(f"{net}: {REFERENCE} does not run it: {problems[REFERENCE]}")
        expected = made[REFERENCE].output()
        errors = {name: largest_relative_error([found.output()], [expected]) for name, found in made.items()}
        times = timed_rounds({name: made[name] for name in methods if name in made}, rounds)
    found = [
        {"method": name, "problem": problems[name]}
        if name in problems
        else {
            "method": name,
            "milliseconds": summary(times[name]),
            "relative_error": errors[name],
            "prepare_seconds": round(made[name].seconds, 1),
            **made[name].facts,
        }
        for name in methods
    ]
    row: Row = {
        "network": running.built.name, "buffer": buffer, "threads": threads, "algorithm": algorithm, "rounds": rounds,
        "cpu": str(tvm.target.codegen.llvm_get_system_cpu()), "methods": found,
    }  # fmt: skip
    if profiled and running.executable is not None:
        groups, graph = running.groups, running.network.graph
        row["profile"] = profile(running.executable, [running.input], groups, graph, PROFILED_RUNS)
    return row


def summary(milliseconds: list[float]) -> dict[str, float]:
    """Median, quartiles, and the least, which says more on a machine with other work."""
    first, middle, third = (
        statistics.quantiles(milliseconds, n=4, method="inclusive") if len(milliseconds) > 1 else 3 * milliseconds
    )
    figures = {"median": middle, "first_quartile": first, "third_quartile": third, "least": min(milliseconds)}
    return {name: round(value, 3) for name, value in figures.items()}


def opened(net: str, folder: Path) -> Record:
    """The record of a network with the rows of earlier calls."""
    path = folder / f"{file_name(net)}.json"
    rows = (read_record(path) or {}).get("rows", [])
    record = Record(path, network=net)
    record.data["rows"] = rows
    return record


def missing_methods(record: Record, row: Row, methods: list[str], profiled: bool) -> bool:
    """Whether a setting was not measured yet, or not with all these methods and the profile."""
    for old in record.data["rows"]:
        if all(old[key] == row[key] for key in KEYS):
            known = {found["method"] for found in old["methods"]}
            return not set(methods) <= known or (profiled and "profile" not in old)
    return True


KEYS = ("buffer", "threads", "algorithm")


def add(record: Record, row: Row) -> None:
    """Put a row in the place of an earlier one of the same setting; it says where and at which commit."""
    others = [old for old in record.data["rows"] if any(old[key] != row[key] for key in KEYS)]
    rows = [*others, row | {"environment": record.data["environment"]}]
    record.add(rows=sorted(rows, key=lambda found: (found["buffer"], found["threads"])))


def in_child(net: str, row: Row, folder: Path, rest: list[str]) -> None:
    """Measure one setting in a process that starts with its number of threads. Raises FusionError if it fails."""
    threads = str(row["threads"])
    command = [sys.executable, "-m", "benchmarks.speed", "--child", "--nets", net, "--threads", threads]
    command += ["--buffer", row["buffer"], "--algorithm", row["algorithm"], "-o", str(folder.absolute()), *rest]
    environment = os.environ | dict.fromkeys(THREAD_VARIABLES, threads)
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        raise FusionError(f"{net} with {threads} threads ended with exit code {done.returncode}: {last}")


def check_threads(threads: list[int]) -> None:
    """Raise FusionError for more threads than cores: they would wait for each other."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if max(threads) > cores:
        raise FusionError(f"--threads {max(threads)} is more than the {cores} cores that this process may use")


def main(
    nets: Annotated[str, typer.Option("--nets", help="Names of timm or torchvision by comma.")] = NETS,
    buffer: Annotated[str, typer.Option("--buffer", metavar="SIZE", help="Of the plan.")] = "1MiB",
    threads: Annotated[str, typer.Option("--threads", help="Numbers of threads by comma.")] = "1,2",
    rounds: Annotated[
        int, typer.Option("--rounds", parser=options.whole("--rounds", 1), metavar="N", help="Timed calls each.")
    ] = 20,
    methods: Annotated[str, typer.Option("--methods", help="By comma.")] = ",".join(METHODS),
    algorithm: options.Algorithm = "best",
    profiled: Annotated[bool, typer.Option("--profile", help="Also the slowest functions of the plan.")] = False,
    again: Annotated[bool, typer.Option("--again", help="Also what an earlier call has done.")] = False,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/speed)")] = None,
    table: Annotated[bool, typer.Option("--markdown", help="Print the page; measure nothing.")] = False,
    child: Annotated[bool, typer.Option("--child", hidden=True)] = False,
) -> int:
    """Time the methods on networks; a row a network, buffer and number of threads."""
    from benchmarks.speed_tables import page, row_tables

    if table:
        print("\n".join(page(output or RESULTS)))
        return 0
    names, chosen = options.parse_list(nets, "--nets"), options.parse_list(methods, "--methods")
    for name in chosen:
        if name not in METHODS:
            raise FusionError(f"--methods {name!r} is unknown; allowed: {', '.join(METHODS)}")
    numbers = [options.whole("--threads", 1)(entry) for entry in options.parse_list(threads, "--threads")]
    planning.Wanted(algorithm=algorithm).check()
    parse_size(buffer)
    check_threads(numbers)
    if child:
        row = contest(names[0], buffer, algorithm, numbers[0], rounds, chosen, profiled)
        add(opened(names[0], output or RESULTS), row)
        print("\n".join(row_tables(row)), flush=True)
        return 0
    from tvm_fusion.frontends.model_name import find_model, parse_name

    for net in names:
        library, name, _ = parse_name(net)
        find_model(library, name)
    folder = output_folder(output or RESULTS, RESULTS, "")
    rest = ["--rounds", str(rounds), "--methods", ",".join(chosen), *(["--profile"] if profiled else [])]
    for net in names:
        for number in numbers:
            row = {"buffer": buffer, "threads": number, "algorithm": algorithm}
            if again or missing_methods(opened(net, folder), row, chosen, profiled):
                in_child(net, row, folder, rest)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
