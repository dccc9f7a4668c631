"""Whether the fast form of a scheme equals its simulator to the byte, on every group of random plans of real networks.

Example: python benchmarks/simulator_agreement.py --nets resnet18,mobilenetv2_100 --plans 1000 --scheme lbdf
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.schemes.registry import scheme_class
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.reports.record import Record, output_folder
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.random_plan import random_plan

RESULTS = Path(__file__).parent / "results"
NETS = "efficientnet_b3@300,mobilenetv2_100,resnet18,resnet50,squeezenet1_1,densenet121"


def groups_of_random_plans(
    graph: OperatorGraph, accelerator: Accelerator, plans: int, seed: int, scheme: str = "lbdf", largest: int = 0
) -> tuple[int, int]:
    """(groups, distinct groups that were compared) of ``plans`` random plans.

    Groups that the scheme cannot execute, or of more than ``largest`` operators (if not 0), are left out. Raises
    NoAnswerError at a difference.
    """
    problem = FusionProblem(graph, Oracle(graph, accelerator))
    compared = scheme_class(scheme)(graph, accelerator)
    generator = np.random.default_rng(seed)
    seen: set[int] = set()
    groups = distinct = 0
    for _ in range(plans):
        masks = random_plan(problem, generator)
        groups += len(masks)
        for mask in masks:
            if mask in seen or (largest and mask.bit_count() > largest):
                continue
            seen.add(mask)
            found = difference(compared, mask)
            if found:
                raise NoAnswerError(f"{graph.name}, operators {list(members(mask))}: {found}")
            distinct += found is not None
    return groups, distinct


def difference(scheme: Scheme, mask: int) -> str | None:
    """What differs between fast form and simulator for a group, or nothing; None if the scheme cannot execute it."""
    fast = scheme.cost(mask)
    if fast is None:
        return None
    slow = scheme.simulate(fast)
    for name in ("buffers", "buffer_bytes", "input_bytes", "output_bytes", "weight_bytes"):
        if getattr(fast, name) != getattr(slow, name):
            return f"{name} {getattr(fast, name)} in the fast form, {getattr(slow, name)} in the simulator"
    if slow.peak_occupancy_bytes > slow.buffer_bytes:
        return f"occupancy {slow.peak_occupancy_bytes} above the requirement {slow.buffer_bytes}"
    return ""


def main(
    nets: Annotated[str, typer.Option("--nets", help="Names or files, with commas between.")] = NETS,
    plans: Annotated[
        int, typer.Option("--plans", parser=options.whole("--plans", 1), metavar="N", help="Random plans a network.")
    ] = 1000,
    scheme: Annotated[str, typer.Option("--scheme", help="An execution scheme by name.")] = "lbdf",
    largest: Annotated[
        int,
        typer.Option(
            "--largest", parser=options.whole("--largest", 0), metavar="N", help="Operators of a group at most; 0: any."
        ),
    ] = 0,
    seed: options.Seed = 0,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="(default: benchmarks/results/agreement)")
    ] = None,
) -> int:
    """Compare fast form and simulator; exit code 1 names the first group in which they differ."""
    accelerator = options.accelerator_of(None, None)
    folder = output_folder(output, RESULTS, "agreement")
    record = Record(folder / "results.json", plans=plans, seed=seed, scheme=scheme, largest=largest)
    for net in nets.split(","):
        graph = session.load_graph(net, 1, verbose=False)
        begin = time.perf_counter()
        groups, distinct = groups_of_random_plans(graph, accelerator, plans, seed, scheme, largest)
        seconds = time.perf_counter() - begin
        record.append("networks", {"network": net, "groups": groups, "distinct": distinct, "seconds": seconds})
        print(f"{net:24} {plans} plans, {groups} groups, {distinct} distinct, all equal ({seconds:.0f} s)", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
