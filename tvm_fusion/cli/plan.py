"""``tvm-fusion plan``: search for the plan that moves least."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_fusion.cli import options
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER

EXAMPLE = "Example: tvm-fusion plan efficientnet_b3@300 --buffer 256KiB --algorithm exact -o plan.json"


def plan(
    net: options.Net,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save the plan as JSON.")
    ] = None,
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.Scheme = "auto",
    recompute: options.Recompute = True,
    algorithm: options.Algorithm = "best",
    budget: options.Budget = 1000,
    seed: options.Seed = 0,
    time_limit: options.TimeLimit = None,
    bound_seconds: options.BoundSeconds = None,
    objective: options.ObjectiveName = "dram",
    repair: options.Repair = "random",
    explainer: options.ExplainerName = DEFAULT_EXPLAINER,
    cache: options.CacheFolder = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Search for the groups of operators that move the least data to and from DRAM.

    Ctrl-C and --time-limit keep the best plan found so far.
    """
    from tvm_fusion.cli import planning, session
    from tvm_fusion.files import check_writable

    if output is not None:
        check_writable(output)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    wanted = planning.Wanted(
        algorithm=algorithm,
        budget_plans=budget,
        seed=seed,
        seconds=options.parse_duration(time_limit),
        repair=repair,
        explainer=explainer,
        scheme=scheme,
        objective=objective,
        recompute=recompute,
        cache=cache,
        bound_seconds=options.parse_bound_seconds(bound_seconds),
    )
    wanted.check()
    graph = session.load_graph(net, batch, verbose)
    found = planning.find(graph, hardware, wanted)
    if output is not None:
        found.save(output)
    if as_json:
        session.print_json(found.to_json())
        return found.exit_code
    session.print_plan(graph, found.evaluation, hardware)
    print(found.summary())
    if output is not None:
        print(f"saved {output}")
    return found.exit_code
