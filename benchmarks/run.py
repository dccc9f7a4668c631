"""The main job: how much DRAM traffic does fusion save on a network, and does the plan really run?

Example: python benchmarks/run.py --net efficientnet_b3

Imports the network, runs the algorithms, prints a table, and writes ``results.json``, ``plan.json`` and
``memory_over_time.png`` to the output folder, every result as it comes: first the network unfused and grouped as TVM
does it, then the published way (line buffers alone) by several algorithms up to the proven optimum, at last "auto",
every group in its cheapest scheme. The best plan is checked group by group by the simulators, compiled with TVM, and
compared numerically with the unfused network.
"""

from __future__ import annotations

import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any

import typer

from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError
from tvm_fusion.graph.graph import mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.graph.plan_io import save_plan
from tvm_fusion.reports.comparison import ComparisonRow, RunFacts, unfused_row
from tvm_fusion.reports.record import Record, output_folder
from tvm_fusion.reports.scheme_shares import scheme_shares
from tvm_fusion.reports.table import comparison_table, megabytes, scheme_table

UNFUSED = "unfused"
FUSE_OPS = "fuse-ops"
AUTO = "auto"
DEFAULT_ALGORITHMS = f"{UNFUSED},{FUSE_OPS},random-search,local-search,nsga2,exact,{AUTO}"
TOLERANCE = 1e-4
RESULTS = Path(__file__).parent / "results"


def repaired(oracle: Oracle, masks: list[int]) -> list[int]:
    """Groups that do not fit the buffer are executed operator by operator."""
    kept = []
    for mask in masks:
        if oracle.evaluate(mask)[0]:
            kept.append(mask)
        else:
            kept.extend(1 << i for i in range(mask.bit_length()) if mask >> i & 1)
    return kept


def run_algorithms(
    network: Any, accelerator: Any, names: list[str], budget: int, seeds: list[int], record: Record, verbose: bool
) -> tuple[list[ComparisonRow], PartitionPlan, str]:
    """A row for every algorithm; the valid plan that moves least, and who found it."""
    graph = network.graph
    rows: list[ComparisonRow] = []
    best: tuple[tuple[int, bool], PartitionPlan, str] | None = None
    lbdf = planning.Wanted(budget_plans=budget, scheme="lbdf")
    for name in names:
        runs: list[RunFacts] = []
        plans: list[PartitionPlan] = []
        if name == UNFUSED:
            runs = list(unfused_row(graph, accelerator).runs)
            plans = [PartitionPlan.from_masks(graph, [1 << i for i in range(len(graph))])]
        elif name == FUSE_OPS:
            with session.quiet(verbose):
                plan, facts = fuse_ops(network, accelerator)
            runs, plans = [facts], [plan]
        else:
            wanted = replace(lbdf, scheme="auto") if name == AUTO else replace(lbdf, algorithm=name)
            for seed in seeds if name != AUTO and planning.is_seeded(name) else seeds[:1]:
                found = planning.find(graph, accelerator, replace(wanted, seed=seed))
                runs.append(found.run_facts())
                plans.append(found.result.plan)
        for facts, plan in zip(runs, plans, strict=True):
            rank = (facts.network_dram_bytes, not facts.optimal)
            if facts.valid and (best is None or rank < best[0]):
                best = (rank, plan, name)
        rows.append(ComparisonRow(name, tuple(runs)))
        record.append("algorithms", rows[-1].to_json())
        progress(f"{name}: {megabytes(rows[-1].mean_bytes)} MB in {rows[-1].mean_seconds:.1f} s a run")
    assert best is not None
    return rows, best[1], best[2]


def fuse_ops(network: Any, accelerator: Any) -> tuple[PartitionPlan, RunFacts]:
    """The grouping of TVM's own FuseOps; groups too large for the buffer run operator by operator."""
    from tvm_fusion.passes.fuse_ops_grouping import fuse_ops_grouping

    graph = network.graph
    begin = time.perf_counter()
    masks = [mask_of(group.operators) for group in fuse_ops_grouping(network.module).groups]
    seconds = time.perf_counter() - begin
    oracle = Oracle(graph, accelerator)
    plan = PartitionPlan.from_masks(graph, repaired(oracle, masks))
    return plan, RunFacts.of(evaluate_plan(graph, plan, oracle), seed=0, seconds=seconds, optimal=False)


def check_by_simulator(graph: Any, plan: PartitionPlan, accelerator: Any) -> int:
    """Groups of the plan that are not layers, all found equal in both forms. Raises FusionError if one is not."""
    oracle = Oracle(graph, accelerator)
    checked = 0
    for cost in evaluate_plan(graph, plan, oracle).costs:
        if cost.scheme == "layer":
            continue
        result = oracle.scheme(cost.scheme).simulate(cost)
        fast = (cost.buffer_bytes, cost.input_bytes, cost.output_bytes, cost.weight_bytes)
        slow = (result.buffer_bytes, result.input_bytes, result.output_bytes, result.weight_bytes)
        if fast != slow:
            raise FusionError(f"group {cost.operators} ({cost.scheme}): fast form says {fast}, simulator {slow}")
        checked += 1
    return checked


def count_lowered(module: Any, plan: PartitionPlan, accelerator: Any, verbose: bool) -> int:
    """Groups that are lowered, each by its scheme; a remark on stderr says why another one is not."""
    from tvm_fusion.passes import group_memory
    from tvm_fusion.passes.compile_plan import lower_plan
    from tvm_fusion.passes.lowering.not_lowered import collected_lowering_warnings

    with session.quiet(verbose), collected_lowering_warnings() as warned:
        lowered = group_memory(lower_plan(module, plan, accelerator))
    for warning in warned:
        session.note(str(warning))
    return len(lowered)


def progress(text: str) -> None:
    """A line on stderr: what has just been done."""
    print(f"[{time.strftime('%H:%M:%S')}] {text}", file=sys.stderr, flush=True)


def main(
    net: Annotated[str, typer.Option("--net", help="A name, an .onnx or a .pt2 file.")] = "efficientnet_b3",
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    algorithms: Annotated[str, typer.Option("--algorithms", help="Names by comma.")] = DEFAULT_ALGORITHMS,
    budget: options.Budget = 5000,
    seeds: Annotated[str, typer.Option("--seeds", help="Mean and spread are over these.")] = "0,1,2",
    batch: options.Batch = 1,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/results/NET)")] = None,
    check: Annotated[bool, typer.Option("--check/--no-check", help="Compile the best plan and compare.")] = True,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw memory over time (needs matplotlib).")] = True,
    verbose: options.Verbose = False,
) -> int:
    """Compare fusion algorithms on a network and check the best plan numerically."""
    begin = time.perf_counter()
    names, seed_list = options.parse_list(algorithms, "--algorithms"), options.parse_seeds(seeds)
    for name in set(names) - {UNFUSED, FUSE_OPS, AUTO}:
        planning.Wanted(algorithm=name).check()
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    folder = output_folder(output, RESULTS, net)
    record = Record(
        folder / "results.json", network=net, accelerator=hardware.to_json(), budget_plans=budget, seeds=seed_list
    )
    from tvm_fusion.cli import building

    with session.quiet(verbose):
        network = building.load(net, batch, seed=0)
    graph = network.graph
    record.add(operators=len(graph), fingerprint=graph.fingerprint, import_seconds=time.perf_counter() - begin)
    progress(f"imported {graph.name}: {len(graph)} operators in {record.data['import_seconds']:.1f} s")
    rows, plan, winner = run_algorithms(network, hardware, names, budget, seed_list, record, verbose)
    evaluation = evaluate_plan(graph, plan, Oracle(graph, hardware))
    save_plan(
        folder / "plan.json", plan, graph, accelerator=hardware.to_json(), algorithm=winner, totals=evaluation.totals()
    )
    session.console().print(
        comparison_table(rows, f"{graph.name}, buffer {hardware.buffer_bytes / 1024:g} KiB, budget {budget} plans")
    )
    shares = scheme_shares(evaluation)
    record.add(schemes=[asdict(share) for share in shares])
    session.console().print(scheme_table(shares, f"best plan, by {winner}: what each scheme carries"))
    checked = check_by_simulator(graph, plan, hardware)
    record.add(best=winner, groups_equal_by_simulator=checked)
    print(f"best plan by {winner}; its simulators agree to the byte on its {checked} groups that are not layers")
    if plot:
        from tvm_fusion.reports.memory_plot import plot_plan

        picture = folder / "memory_over_time.png"
        plot_plan(graph, plan, hardware, picture)
        print(f"wrote {picture}")
    error = None
    if check:
        from tvm_fusion.passes.execute import compare_with_unfused
        from tvm_fusion.passes.lowering.not_lowered import collected_lowering_warnings

        with session.quiet(verbose), collected_lowering_warnings():
            error = compare_with_unfused(network.module, plan, accelerator=hardware)
        lowered = count_lowered(network.module, plan, hardware, verbose)
        record.add(largest_relative_error=error, groups_in_line_buffers=lowered)
        print(f"compiled, {lowered} of {len(plan.groups)} groups lowered to TIR of our own, verified to the byte")
        print(f"largest relative error against the unfused network: {error:.1e}")
    record.add(seconds=time.perf_counter() - begin)
    print(f"{record.data['seconds']:.0f} s in all; results in {folder}")
    return 1 if error is not None and not error <= TOLERANCE else 0


if __name__ == "__main__":
    sys.exit(run_program(main))
