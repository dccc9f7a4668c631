"""``tvm-fusion compile``: a network, grouped by a plan, as a shared library with its metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import CompileError
from tvm_fusion.explainers.registry import DEFAULT_EXPLAINER

EXAMPLE = "Example: tvm-fusion compile mobilenetv2_100 --plan plan.json -o mobilenet.so"


def compile_(
    net: options.Net,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.so", help="The library; its metadata goes to FILE.json.")
    ],
    plan: options.PlanFile = None,
    target: Annotated[str, typer.Option("--target", help="TVM target.")] = "llvm",
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.Scheme = "lbdf",
    algorithm: options.Algorithm = "best",
    budget: options.Budget = 1000,
    seed: options.Seed = 0,
    time_limit: options.TimeLimit = None,
    repair: options.Repair = "random",
    explainer: options.ExplainerName = DEFAULT_EXPLAINER,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Compile a network with one function a group; without --plan, search for the plan first.

    The metadata lists inputs, outputs, and the memory facts of every group.
    """
    from tvm_fusion.cli import planning, session
    from tvm_fusion.files import check_writable

    if output.suffix != ".so":
        raise CompileError(f"output {str(output)!r} must end in .so; the metadata goes to the same name with .json")
    if net.endswith(".json"):
        raise CompileError(f"a saved graph ({net!r}) holds no weights or code; give the network itself")
    metadata_path = output.with_suffix(".json")
    for path in (output, metadata_path):
        check_writable(path)
    options.check_scheme(scheme)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    seconds = options.parse_duration(time_limit)
    planning.check_algorithm(algorithm, repair, explainer)
    from tvm_fusion.cli import building

    with session.quiet(verbose):
        network = building.load(net, batch, seed)
    if plan is not None:
        from tvm_fusion.graph.plan_io import load_plan

        chosen = load_plan(plan, network.graph)
        hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits, chosen)
    else:
        chosen = planning.find(network.graph, hardware, algorithm, budget, seed, seconds, repair, explainer).result.plan
    with session.quiet(verbose):
        metadata = building.build(network, chosen, hardware, target, output, metadata_path)
    if as_json:
        session.print_json(metadata)
        return 0 if metadata["valid"] else 1
    print(f"saved {output} ({metadata['bytes']:,} bytes) and {metadata_path}")
    moved, groups = metadata["totals"]["network_dram_bytes"], len(metadata["groups"])
    print(f"{groups} groups, {moved / 1e6:.3f} MB of DRAM traffic")
    return 0 if metadata["valid"] else 1
