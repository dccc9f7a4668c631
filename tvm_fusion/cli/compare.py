"""``tvm-fusion compare``: several algorithms on one network, one table."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import typer

from tvm_fusion.cli import options
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER

EXAMPLE = "Example: tvm-fusion compare mobilenetv2_100 --algorithms exact,local-search --seeds 0,1,2"


def compare(
    net: options.Net,
    algorithms: Annotated[
        str, typer.Option("--algorithms", metavar="A,B", help="Names, separated by commas.")
    ] = "random-search,local-search,nsga2,exact",
    seeds: Annotated[str, typer.Option("--seeds", metavar="N,N", help="One run for each of these seeds.")] = "0",
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.Scheme = "auto",
    recompute: options.Recompute = True,
    budget: options.Budget = 1000,
    time_limit: options.TimeLimit = None,
    objective: options.ObjectiveName = "dram",
    repair: options.Repair = "random",
    explainer: options.ExplainerName = DEFAULT_EXPLAINER,
    cache: options.CacheFolder = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Run several search algorithms with several seeds and show DRAM bytes (mean and spread) in one table."""
    from tvm_fusion.cli import planning, session

    names = options.parse_list(algorithms, "--algorithms")
    seed_list = options.parse_seeds(seeds)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    wanted = planning.Wanted(
        algorithm=names[0],
        budget_plans=budget,
        seconds=options.parse_duration(time_limit),
        repair=repair,
        explainer=explainer,
        scheme=scheme,
        objective=objective,
        recompute=recompute,
        cache=cache,
    )
    for name in names:
        replace(wanted, algorithm=name).check()
    graph = session.load_graph(net, batch, verbose)
    from tvm_fusion.reports.comparison import ComparisonRow, unfused_row

    rows = [unfused_row(graph, hardware)]
    for name in names:
        if name == "unfused":
            continue  # stands first in any case
        runs = [
            planning.find(graph, hardware, replace(wanted, algorithm=name, seed=seed)).run_facts()
            for seed in (seed_list if planning.is_seeded(name) else seed_list[:1])
        ]
        rows.append(ComparisonRow(name, tuple(runs)))
    if as_json:
        session.print_json(
            {
                "network": graph.name,
                "accelerator": hardware.to_json(),
                "budget_plans": budget,
                "compulsory_dram_bytes": rows[0].runs[0].compulsory_dram_bytes,
                "algorithms": [row.to_json() for row in rows],
            }
        )
        return 0
    from tvm_fusion.reports.table import comparison_table

    session.console().print(comparison_table(rows, f"{graph.name}, {hardware.buffer_bytes / 1024:g} KiB"))
    return 0
