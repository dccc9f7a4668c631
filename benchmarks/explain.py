"""How much explained repair helps each search: the published tables in our cost model, and how early plans get good.

Example: python benchmarks/explain.py --quick
Example: python benchmarks/explain.py --scheme brr --accelerator paper

Every run (network, buffer, search, repair, seed) is appended to ``runs.jsonl`` of the output folder as it ends; a
second call does only what is missing. ``python -m benchmarks.explain_tables`` makes tables and plots from that file.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.evaluation import evaluate_plan
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import FusionError
from tvm_fusion.explainers.cached import CachedExplainer
from tvm_fusion.explainers.registry import check_explainer, make_explainer
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.environment import environment
from tvm_fusion.reports.record import file_name, output_folder, read_record
from tvm_fusion.search import search
from tvm_fusion.search.explained_split import ExplainedSplit

RESULTS = Path(__file__).parent / "explained"
LBDF = "lbdf"
CACHE = Path(__file__).parent / "results" / "explanations"
RANDOM = "random"  # the random split, not an explainer
# The same tree split at edges in random order: what is left of the gain without any explanation.
RANDOM_EDGES = "random-edges"
REPAIRS = f"{RANDOM},gnnexplainer,pgexplainer,rgexplainer,occlusion,{RANDOM_EDGES}"
SEARCHES = "random-search,local-search,nsga2"
# Tables of the paper: (networks, buffer, budget in plans).
TABLES = {
    "128KiB": (
        "mobilenetv2_100@224", "vgg16@224", "resnet50@224", "resnet18@224", "squeezenet1_1@224", "128KiB", 2000,
    ),
    "256KiB": ("efficientnet_b3@300", "resnet152@224", "deeplabv3_mobilenet_v3_large@513", "256KiB", 5000),
}  # fmt: skip
# Those of the paper in BRR: networks without squeeze-and-excite. The budget of a run is ours.
TABLE_BRR = (
    "mobilenetv2_100@224", "vgg16@224", "resnet50@224", "resnet18@224", "squeezenet1_1@224", "128KiB", 500,
)  # fmt: skip
QUICK = ("mobilenetv2_100@224", "128KiB", 100)


def planned(
    networks: list[tuple[str, str, int]], searches: list[str], repairs: list[str], seeds: list[int]
) -> list[Any]:
    """The key of every run: the seeds outermost, so that whole tables fill up one seed after another."""
    return [
        {"network": net, "buffer": buffer, "budget_plans": budget, "search": name, "repair": repair, "seed": seed}
        for seed in seeds
        for net, buffer, budget in networks
        for name in searches
        for repair in repairs
    ]


def explainer_of(repair: str) -> str:
    """Name of the explainer that a repair asks."""
    return "random" if repair == RANDOM_EDGES else repair


def read_runs(path: Path) -> list[dict[str, Any]]:
    """The runs of a file, one JSON object a line. Raises FusionError for a line that is none."""
    if not path.exists():
        return []
    runs = []
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            runs.append(json.loads(line))
        except json.JSONDecodeError:
            raise FusionError(f"{str(path)!r}, line {number}, is not JSON; remove the line to run it again") from None
    return runs


def execute(run: dict[str, Any], graph: OperatorGraph, cache: Path) -> dict[str, Any]:
    """One search with a fresh oracle; explanations of earlier runs are taken from the cache at the time they cost."""
    oracle = oracle_of(graph, run)
    splitter = explainer = None
    if run["repair"] != RANDOM:
        name = explainer_of(run["repair"])
        special = "".join(f"-{run[key]}" for key in ("scheme", "accelerator") if key in run)
        path = cache / f"{file_name(run['network'])}-{run['buffer']}-{run['repair']}{special}.sqlite"
        explainer = CachedExplainer(oracle, lambda: make_explainer(name, oracle), path)
        splitter = ExplainedSplit(explainer)

    def clock() -> float:
        return time.perf_counter() + (explainer.saved_seconds if explainer else 0.0)

    result = search(
        graph, oracle, run["search"], budget_plans=run["budget_plans"], seed=run["seed"], splitter=splitter, clock=clock
    )
    evaluation = evaluate_plan(graph, result.plan, oracle)
    counts = asdict(result.repair)
    return run | {
        "network_dram_bytes": evaluation.network_dram_bytes,
        "fusable_dram_bytes": evaluation.fusable_dram_bytes,
        "plans_proposed": result.plans_proposed,
        "groups_evaluated": oracle.evaluated,
        "seconds": round(result.seconds, 3),
        "oracle_seconds": round(result.oracle_seconds, 3),
        "explainer_seconds": round(explainer.seconds - explainer.classifier_seconds, 3) if explainer else 0.0,
        "classifier_seconds": round(explainer.classifier_seconds, 3) if explainer else 0.0,
        "groups_explained": explainer.explained if explainer else 0,
        **counts,
        "rectify_rate": result.repair.rectify_rate if explainer else None,
        "history": [(plans, round(seconds, 3), found) for plans, seconds, found in result.history],
    }


def oracle_of(graph: OperatorGraph, run: Mapping[str, Any]) -> Oracle:
    """A fresh oracle for ``buffer``, ``scheme`` (else LBDF) and ``accelerator`` (a preset; else "edge") of a run."""
    hardware = options.accelerator_of(run.get("accelerator"), run["buffer"])
    return Oracle(graph, hardware, run.get("scheme", LBDF))


def optimum(graph: OperatorGraph, run: Mapping[str, Any]) -> dict[str, Any]:
    """The proven optimum of a network, or the best that interval DP finds where it has too many ideals."""
    oracle = oracle_of(graph, run)
    try:
        result = search(graph, oracle, "exact")
    except FusionError:
        result = search(graph, oracle, "interval-dp")
    evaluation = evaluate_plan(graph, result.plan, oracle)
    return {
        "network_dram_bytes": evaluation.network_dram_bytes,
        "fusable_dram_bytes": evaluation.fusable_dram_bytes,
        "unfused_dram_bytes": evaluation.unfused_dram_bytes,
        "operators": len(graph),
        "optimal": result.optimal,
        "seconds": round(result.seconds, 3),
    }


def main(
    nets: Annotated[str | None, typer.Option("--nets", help="Names or files by comma instead of the tables'.")] = None,
    buffer: options.Buffer = None,
    budget: Annotated[
        int | None, typer.Option("--budget", parser=options.whole("--budget", 1), metavar="N", help="Plans a run.")
    ] = None,
    searches: Annotated[str, typer.Option("--searches", help="Names by comma.")] = SEARCHES,
    repairs: Annotated[
        str,
        typer.Option(
            "--repairs",
            help="'random' (the random split), 'random-edges' (the tree split at any edges), explainers; by comma.",
        ),
    ] = REPAIRS,
    seeds: Annotated[str, typer.Option("--seeds", help="By comma.")] = "0,1,2",
    scheme: Annotated[str, typer.Option("--scheme", help="lbdf, or brr: the networks of its table.")] = LBDF,
    accelerator: Annotated[str | None, typer.Option("--accelerator", help="Preset, of brr. (default: edge)")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="One network, small budget, one seed.")] = False,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", help="(default: benchmarks/explained, of brr brr/ACCELERATOR in it)"),
    ] = None,
    cache: Annotated[Path | None, typer.Option("--cache", help="(default: benchmarks/results/explanations)")] = None,
    verbose: options.Verbose = False,
) -> int:
    """Run what is missing of the tables, one line of results a run."""
    from tvm_fusion.cli import planning

    search_names, repair_names = options.parse_list(searches, "--searches"), options.parse_list(repairs, "--repairs")
    for name in search_names:
        planning.Wanted(algorithm=name).check()
    for name in set(repair_names) - {RANDOM}:
        check_explainer(explainer_of(name))
    seed_list = options.parse_seeds(seeds)
    options.accelerator_of(accelerator, buffer)
    folder_of_results, special = RESULTS, {}
    if scheme != LBDF or accelerator is not None:
        options.check_scheme(scheme)
        special = {"scheme": scheme, "accelerator": accelerator or "edge"}
        folder_of_results = RESULTS / scheme / special["accelerator"]
    networks: list[tuple[str, str, int]] = []
    if quick:
        networks, seed_list = [(nets or QUICK[0], buffer or QUICK[1], budget or QUICK[2])], seed_list[:1]
    elif nets is not None:
        networks = [(net, buffer or "256KiB", budget or 5000) for net in options.parse_list(nets, "--nets")]
    else:
        for *names, size, plans in [TABLE_BRR] if scheme != LBDF else TABLES.values():
            networks += [(str(net), buffer or str(size), budget or int(plans)) for net in names]
    folder, cache_folder = (
        output_folder(output or folder_of_results, folder_of_results, ""),
        output_folder(cache or CACHE, CACHE, ""),
    )
    runs_file = folder / "runs.jsonl"
    wanted = [run | special for run in planned(networks, search_names, repair_names, seed_list)]
    missing = _missing(wanted, read_runs(runs_file))
    machine = environment()
    graphs: dict[str, OperatorGraph] = {}
    for number, run in enumerate(missing, 1):
        net = run["network"]
        if net not in graphs:
            graphs[net] = session.load_graph(net, 1, verbose)
            _note_network(folder / "networks.json", run, graphs[net])
        begin = time.perf_counter()
        found = execute(run, graphs[net], cache_folder)
        with runs_file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(found | {"environment": machine}) + "\n")
        what = f"{net} {run['search']} {run['repair']} seed {run['seed']}"
        print(
            f"[{time.strftime('%H:%M:%S')}] {number} of {len(missing)}: {what}: "
            f"{found['network_dram_bytes'] / 1e6:.3f} MB, {found['seconds']:.1f} s "
            f"({time.perf_counter() - begin:.1f} s now)",
            flush=True,
        )
    return 0


def _missing(wanted: list[dict[str, Any]], done: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = {tuple(run.get(key) for key in sorted(wanted[0])) for run in done} if wanted else set()
    return [run for run in wanted if tuple(run[key] for key in sorted(run)) not in found]


def _note_network(path: Path, run: Mapping[str, Any], graph: OperatorGraph) -> None:
    """The optimum of a network at a buffer, once."""
    from tvm_fusion.files import write_text_atomic

    data = read_record(path) or {}
    key = f"{run['network']} {run['buffer']}"
    if key not in data:
        data[key] = optimum(graph, run)
        write_text_atomic(path, json.dumps(data, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    sys.exit(run_program(main))
