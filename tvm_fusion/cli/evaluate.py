"""``tvm-fusion evaluate``: what a given plan costs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_fusion.cli import options

EXAMPLE = "Example: tvm-fusion evaluate efficientnet_b3@300 --plan plan.json --buffer 128KiB --json"


def evaluate(
    net: options.Net,
    plan: Annotated[Path, typer.Option("--plan", metavar="FILE", help="A partition plan as JSON.")],
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.PlanScheme = None,
    objective: options.ObjectiveName = "dram",
    recompute: options.Recompute = True,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Buffer and DRAM bytes of every group of a plan, and the totals.

    Without --accelerator, the one saved in the plan counts, or else the preset edge. Exit code 1: a group does not fit.
    """
    from tvm_fusion.cli import session

    options.check_scheme(scheme or "auto", objective)
    options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)  # refuse bad options before long work
    graph = session.load_graph(net, batch, verbose)
    from tvm_fusion.cost_models.evaluation import evaluate_plan
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.graph.plan import PartitionPlan
    from tvm_fusion.graph.plan_io import load_plan

    wanted = load_plan(plan, graph)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits, wanted)
    if scheme is not None:
        wanted = PartitionPlan.from_masks(graph, wanted.masks)
    evaluation = evaluate_plan(graph, wanted, Oracle(graph, hardware, scheme or "auto", objective, recompute))
    if as_json:
        session.print_json(evaluation.to_json())
    else:
        session.print_plan(graph, evaluation, hardware)
    return 0 if evaluation.valid else 1
