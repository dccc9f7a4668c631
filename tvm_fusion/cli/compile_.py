"""``tvm-fusion compile``: a network, grouped by a plan, as a library with its metadata, a folder, or sources."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import CompileError
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.graph.plan import PartitionPlan

EXAMPLE = "Example: tvm-fusion compile mobilenetv2_100 --plan plan.json -o mobilenet"
# What a saved plan says of its search, true as long as it is for the same accelerator.
_OF_THE_SEARCH = (
    "algorithm", "seed", "schemes", "objective", "recompute", "budget_plans", "plans_proposed", "optimal",
    "certificate", "lower_bound_dram_bytes", "bound_certificate", "repair", "explainer",
)  # fmt: skip
_LOWERING = "Lowering"


def compile_(
    net: options.Net,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FOLDER|FILE.so",
            help="A folder for library (or sources), plan, memory report and a program that runs it; or the library "
            "alone, its metadata in FILE.json.",
        ),
    ],
    plan: options.PlanFile = None,
    target: Annotated[
        str,
        typer.Option(
            "--target",
            help='TVM target: llvm, \'{"kind": "llvm", "mcpu": "..."}\'; or c, for a C source of every lowered group '
            "instead of a library.",
        ),
    ] = "llvm",
    lower: Annotated[
        bool,
        typer.Option(
            "--lower/--no-lower",
            help="Lower groups to line buffers, or leave every group to TVM's own lowering.",
            rich_help_panel=_LOWERING,
        ),
    ] = True,
    scope: Annotated[
        str | None,
        typer.Option(
            "--scope",
            metavar="NAME",
            help="TVM's memory scope of line buffers and weights. (default: global.sram)",
            rich_help_panel=_LOWERING,
        ),
    ] = None,
    alignment: Annotated[
        int,
        typer.Option(
            "--alignment",
            parser=options.whole("--alignment", 1),
            metavar="BYTES",
            help="Line buffers and weights get addresses at multiples of this.",
            rich_help_panel=_LOWERING,
        ),
    ] = 1,
    threads: Annotated[
        int,
        typer.Option(
            "--threads",
            parser=options.whole("--threads", 1),
            metavar="N",
            help="At most so many threads share the rows of a group, each with line buffers of its own.",
            rich_help_panel=_LOWERING,
        ),
    ] = 1,
    png: Annotated[
        Path | None,
        typer.Option(
            "--png",
            metavar="FILE",
            help="Draw the on-chip memory map of every lowered group (needs matplotlib).",
            rich_help_panel=_LOWERING,
        ),
    ] = None,
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.CompileScheme = None,
    recompute: options.Recompute = True,
    algorithm: options.Algorithm = "best",
    budget: options.Budget = 1000,
    seed: options.Seed = 0,
    time_limit: options.TimeLimit = None,
    objective: options.ObjectiveName = "dram",
    repair: options.Repair = "random",
    explainer: options.ExplainerName = DEFAULT_EXPLAINER,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Compile a network with one function a group; without --plan, search for the plan first.

    Groups are lowered to line buffers, and their memory is verified. With --activation-bits dtype --weight-bits dtype
    a group whose addresses exceed the buffer is refused. 'tvm-fusion run FOLDER' executes the result.
    """
    from tvm_fusion.cli import compiled_files, planning, session

    if net.endswith(".json"):
        raise CompileError(f"a saved graph ({net!r}) holds no weights or code; give the network itself")
    as_folder = compiled_files.is_folder(output)
    _check_drawing(png, lower)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    wanted = planning.Wanted(
        algorithm=algorithm,
        budget_plans=budget,
        seed=seed,
        seconds=options.parse_duration(time_limit),
        repair=repair,
        explainer=explainer,
        scheme=scheme or "auto",
        objective=objective,
        recompute=recompute,
    )
    wanted.check()
    from tvm_fusion.cli import building

    with session.quiet(verbose):
        kind = building.target_kind(target)
    as_sources = kind in compiled_files.LANGUAGES
    compiled_files.check_kind(output, kind)
    _check_target(target, kind, as_sources, lower, threads)
    with session.quiet(verbose):
        network = building.load(net, batch, seed)
    if plan is not None:
        from tvm_fusion.graph.plan_io import load_plan

        chosen = load_plan(plan, network.graph)
        hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits, chosen)
        facts = _plan_facts(chosen, hardware)
    else:
        lowered_ones = building.lowered_schemes(network.graph, as_sources)
        found = planning.find(network.graph, hardware, replace(wanted, scheme=scheme or lowered_ones))
        chosen, facts = found.result.plan, found.facts()
    with session.quiet(verbose):
        lowered = building.lower(network, chosen, hardware, target, lower, scope, alignment, threads)
    facts["totals"] = lowered.report["totals"]
    if as_sources:
        with session.quiet(verbose):
            metadata = compiled_files.write_sources(lowered, chosen, network.graph, facts, output, kind)
        for reason, functions in _by_reason(metadata["left_out"]).items():
            session.note(f"no {compiled_files.LANGUAGES[kind]} source of {', '.join(functions)}: {reason}")
        _draw(png, lowered.report)
    else:
        with session.quiet(verbose):
            built = building.build(lowered)
        for function, reason in lowered.not_lowered.items():
            session.note(f"{function} is left to TVM's own lowering: {reason}")
        _draw(png, lowered.report)
        if as_folder:
            metadata = compiled_files.write_folder(built, chosen, network.graph, facts, output)
        else:
            metadata = compiled_files.write_library(built, output)
    if as_json:
        session.print_json(metadata)
    else:
        _print(metadata, output, as_folder, png, compiled_files.LANGUAGES.get(kind, ""))
    return 0 if metadata["valid"] else 1


def _check_target(target: str, kind: str, as_sources: bool, lower: bool, threads: int) -> None:
    """Raise CompileError for options that contradict each other."""
    if as_sources and not lower:
        raise CompileError(f"--target {target} writes lowered groups; it cannot be given with --no-lower")
    if kind == "c" and threads > 1:  # those of CUDA have a block for each
        raise CompileError(
            f"--threads {threads} is for libraries and cuda; the sources of --target {target} are for 1 thread"
        )


def _check_drawing(png: Path | None, lower: bool) -> None:
    """Raise FusionError now if the memory map could not be drawn later."""
    if png is None:
        return
    from tvm_fusion.files import check_writable
    from tvm_fusion.reports.figures import new_figure

    if not lower:
        raise CompileError("--png draws the memory map of lowered groups; it cannot be given with --no-lower")
    check_writable(png)
    new_figure()


def _draw(png: Path | None, report: dict[str, Any]) -> None:
    if png is not None:
        from tvm_fusion.reports.memory_map_plot import plot_memory_map

        plot_memory_map(report, png)


def _plan_facts(plan: PartitionPlan, hardware: Accelerator) -> dict[str, Any]:
    """What the saved plan shall say beside its groups."""
    accelerator = hardware.to_json()
    same = plan.metadata.get("accelerator") == accelerator
    kept = {key: plan.metadata.get(key) for key in _OF_THE_SEARCH} if same else {}
    return {"accelerator": accelerator, **kept}


def _by_reason(left_out: dict[str, str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for function, reason in left_out.items():
        found.setdefault(reason, []).append(function)
    return found


def _print(metadata: dict[str, Any], output: Path, as_folder: bool, png: Path | None, language: str) -> None:
    from tvm_fusion.reports.memory_table import memory_summary

    if "sources" in metadata:
        header, *sources = metadata["sources"]
        what = f"{header} and {language} sources of {len(sources)} groups"
        print(f"saved {what} in {output}, plan and memory report beside them")
        print(memory_summary(metadata, left="not lowered"))
    else:
        written = f"{output / metadata['library'] if as_folder else output} ({metadata['bytes']:,} bytes)"
        beside = "plan, memory report and run.py beside it" if as_folder else output.with_suffix(".json")
        print(f"saved {written}, {beside}")
        print(memory_summary(metadata))
    if png is not None:
        print(f"wrote {png}")
