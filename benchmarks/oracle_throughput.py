"""New groups a second: the fast form of the oracle beside the simulator, on the same groups.

Example: python benchmarks/oracle_throughput.py --net efficientnet_b3
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.reports.record import Record, output_folder

RESULTS = Path(__file__).parent / "results"


def random_groups(graph: OperatorGraph, count: int, largest: int, seed: int) -> list[int]:
    """Distinct connected groups of 2 .. ``largest`` operators, grown from random ones (convex or not)."""
    generator = np.random.default_rng(seed)
    found: dict[int, None] = {}
    for _ in range(50 * count):
        if len(found) == count:
            break
        mask = 1 << int(generator.integers(len(graph)))
        for _ in range(int(generator.integers(1, largest))):
            border = 0
            for i in members(mask):
                border |= graph.predecessor_masks[i] | graph.successor_masks[i]
            choices = list(members(border & ~mask))
            if not choices:
                break
            mask |= 1 << choices[int(generator.integers(len(choices)))]
        if mask & (mask - 1):
            found[mask] = None
    return list(found)


def groups_per_second(work: Callable[[int], Any], groups: list[int]) -> float:
    """How many of ``groups`` a second ``work`` handles."""
    begin = time.perf_counter()
    for mask in groups:
        work(mask)
    return len(groups) / (time.perf_counter() - begin)


def measure(graph: OperatorGraph, accelerator: Any, groups: list[int], simulated: list[int]) -> dict[str, float]:
    """Groups a second of the search's question, of the exact requirement, and of the simulator."""
    from tvm_fusion.cost_models.simulator import simulate_line_buffer

    oracle = Oracle(graph, accelerator)
    fast = groups_per_second(oracle.evaluate, groups)
    exact = groups_per_second(oracle.model.requirement_bytes, groups)
    exact_same = groups_per_second(oracle.model.requirement_bytes, simulated)
    slow = groups_per_second(lambda mask: simulate_line_buffer(graph, mask, accelerator), simulated)
    return {
        "evaluate_groups_per_second": fast,
        "requirement_groups_per_second": exact,
        "simulator_groups_per_second": slow,
        "requirement_to_simulator_ratio": exact_same / slow,
    }


def main(
    net: Annotated[str, typer.Option("--net", help="A name, an .onnx or a .pt2 file.")] = "efficientnet_b3",
    buffer: options.Buffer = None,
    groups: Annotated[
        int,
        typer.Option(
            "--groups", parser=options.whole("--groups", 1), metavar="N", help="New groups asked of the oracle."
        ),
    ] = 5000,
    simulated: Annotated[
        int,
        typer.Option(
            "--simulated",
            parser=options.whole("--simulated", 1),
            metavar="N",
            help="How many of them the simulator runs as well.",
        ),
    ] = 300,
    largest: Annotated[
        int,
        typer.Option("--largest", parser=options.whole("--largest", 2), metavar="N", help="Most operators of a group."),
    ] = 20,
    seed: options.Seed = 0,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/results/oracle)")] = None,
    as_json: options.AsJson = False,
) -> int:
    """Measure the oracle's throughput."""
    hardware = options.accelerator_of(None, buffer)
    folder = output_folder(output, RESULTS, "oracle")
    record = Record(folder / "results.json", network=net, accelerator=hardware.to_json(), seed=seed)
    graph = session.load_graph(net, 1, verbose=False)
    masks = random_groups(graph, groups, largest, seed)
    record.add(groups=len(masks), **measure(graph, hardware, masks, masks[:simulated]))
    if as_json:
        session.print_json(record.data)
        return 0
    figures = record.data
    print(f"{graph.name}, {len(masks)} random groups of 2 to {largest} operators, {hardware.buffer_bytes:,} bytes")
    print(f"  oracle, as a search asks   {figures['evaluate_groups_per_second']:>10,.0f} new groups a second")
    print(f"  fast form, always exact    {figures['requirement_groups_per_second']:>10,.0f}")
    print(f"  simulator                  {figures['simulator_groups_per_second']:>10,.0f}")
    print(f"  fast form to simulator, the same groups: {figures['requirement_to_simulator_ratio']:.1f} times")
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
