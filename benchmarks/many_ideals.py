"""Graphs with too many ideals for an exact search: explained and random repair and interval-dp at equal seconds.

Example: python benchmarks/many_ideals.py --seconds 60

Results are written as they come; a second call does only what is missing.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import networkx as nx
import typer

from tvm_fusion.cli import options, planning, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.errors import FusionError
from tvm_fusion.graph.demand import ROW, RowDemand
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.operator import Operator, Tensor, Window
from tvm_fusion.reports.record import Record, output_folder, read_record

RESULTS = Path(__file__).parent / "explained"
NETS = "hrnet_w18_small@224,nasnetalarge@331,randwired"
RANDWIRED = "randwired"
# (algorithm, repair or explainer)
METHODS = (
    ("interval-dp", "random"), ("random-search", "random"), ("local-search", "random"), ("nsga2", "random"),
    ("random-search", "pgexplainer"), ("local-search", "pgexplainer"), ("nsga2", "pgexplainer"),
    ("local-search", "rgexplainer"), ("best", "random"), ("best", "pgexplainer"),
)  # fmt: skip


def randomly_wired(
    seed: int = 0, stages: int = 3, nodes: int = 32, channels: int = 78, height: int = 112
) -> OperatorGraph:
    """A randomly wired network after Xie et al., ICCV 2019: Watts-Strogatz graphs (4 neighbours, rewired with 0.75).

    A node is an addition of its inputs, ReLU, a depthwise 3x3 and a pointwise convolution. Nodes without a source
    halve the maps; the outputs of a stage are averaged. The number of channels doubles from stage to stage.
    """
    tensors = [Tensor("x", (1, channels, height, height), row_axis=2)]
    operators: list[Operator] = []

    def add(type_: str, shape: tuple[int, ...], demands: dict[int, RowDemand], **facts: Any) -> int:
        number = len(operators)
        values = tuple(demands), tuple(demands.values())
        operators.append(
            Operator(
                f"{type_}_{number}",
                shape,
                row_axis=2,
                id=number,
                type=type_,
                inputs=values[0],
                demands=values[1],
                **facts,
            )
        )
        return number

    def shape_of(operand: int) -> tuple[int, ...]:
        return (operators[operand] if operand >= 0 else tensors[-operand - 1]).shape

    def node(sources: list[int], width: int, stride: int) -> int:
        at = sources[0]
        if len(sources) > 1:
            at = add("add", shape_of(at), dict.fromkeys(sorted(sources), ROW), pointwise=True)
        at = add("relu", shape_of(at), {at: ROW}, pointwise=True)
        _, c, h, w = shape_of(at)
        window = Window((3, 3), (stride, stride), (1, 1, 1, 1))
        h, w = ((size - 1) // stride + 1 for size in (h, w))
        demand = RowDemand("window", kernel=3, stride=stride, padding=1)
        at = add(
            "depthwise_conv2d", (1, c, h, w), {at: demand}, window=window, weight_elements=10 * c, macs=9 * c * h * w
        )
        return add(
            "conv2d", (1, width, h, w), {at: RowDemand("window")}, window=Window((1, 1)),
            weight_elements=c * width + width, macs=c * width * h * w,
        )  # fmt: skip

    source = -1
    for stage in range(stages):
        width = channels << stage
        wiring = nx.connected_watts_strogatz_graph(nodes, 4, 0.75, seed=seed * stages + stage)
        made: list[int] = []
        for i in range(nodes):
            before = sorted(j for j in wiring[i] if j < i)
            made.append(node([made[j] for j in before] or [source], width, 1 if before else 2))
        ends = [made[i] for i in range(nodes) if not any(j > i for j in wiring[i])]
        source = ends[0]
        if len(ends) > 1:
            source = add("add", shape_of(source), dict.fromkeys(ends, ROW), pointwise=True)
    return OperatorGraph(f"randwired_{seed}", tuple(tensors), tuple(operators), (source,))


def _method(name: str) -> tuple[str, str]:
    algorithm, _, repair = name.partition("/")
    if (algorithm, repair) not in METHODS:
        raise FusionError(f"method {name!r} is not known; one of: {', '.join('/'.join(method) for method in METHODS)}")
    return algorithm, repair


def main(
    nets: Annotated[str, typer.Option("--nets", help="Names, files, or randwired; by comma.")] = NETS,
    buffer: options.Buffer = None,
    seconds: Annotated[
        int, typer.Option("--seconds", parser=options.whole("--seconds", 1), metavar="N", help="For each run.")
    ] = 60,
    seeds: Annotated[str, typer.Option("--seeds", help="By comma.")] = "0,1,2",
    methods: Annotated[
        str | None, typer.Option("--methods", help="By comma, as local-search/pgexplainer. (default: all)")
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/explained)")] = None,
) -> int:
    """Give every method the same seconds on networks whose ideals are too many for a proof."""
    seed_list = options.parse_seeds(seeds)
    chosen = METHODS if methods is None else tuple(map(_method, options.parse_list(methods, "--methods")))
    hardware = options.accelerator_of(None, buffer)
    path = output_folder(output or RESULTS, RESULTS, "") / "many_ideals.json"
    earlier = read_record(path) or {}
    record = Record(path, seconds=seconds, buffer_bytes=hardware.buffer_bytes)
    same = all(earlier.get(key) == record.data[key] for key in ("seconds", "buffer_bytes"))
    rows: list[dict[str, Any]] = list(earlier.get("rows", [])) if same else []
    done = {(row["network"], row["algorithm"], row["repair"], row["seed"]) for row in rows}
    for net in options.parse_list(nets, "--nets"):
        keys = [(net, *method, seed) for seed in seed_list for method in chosen]
        missing = [key for key in keys if key not in done]
        if not missing:
            continue
        graph = randomly_wired() if net == RANDWIRED else session.load_graph(net, 1, verbose=False)
        for _, algorithm, repair, seed in missing:
            wanted = planning.Wanted(
                algorithm=algorithm,
                budget_plans=10**9,
                seed=seed,
                seconds=float(seconds),
                repair="explained" if repair != "random" else "random",
                explainer=repair,
                scheme="lbdf",
            )
            found = planning.find(graph, hardware, wanted)
            if not found.evaluation.valid:
                raise FusionError(f"{net}: {algorithm} gave a plan that does not fit")
            rows.append(
                {
                    "network": net, "algorithm": algorithm, "repair": repair, "seed": seed, "operators": len(graph),
                    "network_dram_bytes": found.evaluation.network_dram_bytes,
                    "unfused_dram_bytes": found.evaluation.unfused_dram_bytes,
                    "plans_proposed": found.result.plans_proposed, "seconds": round(found.result.seconds, 2),
                    "ended_by": found.result.ended_by, "optimal": found.result.optimal,
                }
            )  # fmt: skip
            record.add(rows=rows)
            print(
                f"{net} {algorithm} {repair} seed {seed}: {rows[-1]['network_dram_bytes'] / 1e6:.3f} MB, "
                f"{rows[-1]['plans_proposed']} plans in {rows[-1]['seconds']:.0f} s",
                flush=True,
            )
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
