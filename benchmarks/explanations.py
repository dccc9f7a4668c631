"""What explanations are worth: fidelity to the classifier, and cuts at their top edges judged by the exact oracle.

Example: python -m benchmarks.explanations --nets mobilenetv2_100@224 --buffer 128KiB

Invalid groups of random plans are explained by every explainer. Rows are written as they come; a second call goes on.
"""

from __future__ import annotations

import math
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from benchmarks.explain import LBDF, RESULTS, TABLE_BRR
from benchmarks.markdown import machine_note, markdown_table
from tvm_fusion.cli import options, session
from tvm_fusion.cli.main import run_program
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import NoAnswerError
from tvm_fusion.explainers.base import Explainer
from tvm_fusion.explainers.metrics import fidelity, truth
from tvm_fusion.explainers.registry import check_explainer, explainer_names, make_explainer
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.reports.record import Record, output_folder, read_record
from tvm_fusion.search.explained_split import EXPLAINED_EDGES, split_at
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.random_plan import random_plan

CASES = (
    ("mobilenetv2_100@224", "128KiB"), ("resnet50@224", "128KiB"), ("squeezenet1_1@224", "128KiB"),
    ("efficientnet_b3@300", "256KiB"),
)  # fmt: skip
TOP = 3


def invalid_groups(problem: FusionProblem, count: int, seed: int) -> list[int]:
    """Distinct invalid groups of several operators that random plans meet, the first ``count``."""
    generator = np.random.default_rng(seed)
    found: dict[int, None] = {}
    for _ in range(50 * count):
        for mask in random_plan(problem, generator):
            if not problem.valid(mask):
                found[mask] = None
        if len(found) >= count:
            break
    if not found:
        raise NoAnswerError(f"every group of {problem.graph.name!r} fits the buffer: there is nothing to explain")
    return list(found)[:count]


def quality(problem: FusionProblem, explainer: Explainer, masks: list[int]) -> dict[str, Any]:
    """Truth and fidelity of one explainer's explanations of ``masks``, and milliseconds a group."""
    from tvm_fusion.explainers.learned import LearnedExplainer

    begin = time.perf_counter()
    explanations = explainer.explain(masks)
    milliseconds = 1000 * (time.perf_counter() - begin) / len(masks)
    trees = [split_at(problem, item.mask, item.edges[:EXPLAINED_EDGES]) for item in explanations]
    found: dict[str, Any] = {
        **asdict(truth(problem.oracle, explanations)),
        "tree_rate": sum(all(map(problem.valid, parts)) for parts in trees) / len(trees),
        "milliseconds_per_group": milliseconds,
    }
    if isinstance(explainer, LearnedExplainer):
        report = fidelity(explainer.invalid, explanations, TOP)
        found |= {"fidelity_plus": report.plus, "fidelity_minus": report.minus}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in found.items()}


def measure(
    graph: OperatorGraph,
    buffer: str,
    name: str,
    groups: int,
    seed: int,
    scheme: str = LBDF,
    accelerator: str | None = None,
) -> dict[str, Any]:
    """One row: an explainer on the groups of a network that are invalid in ``scheme``."""
    problem = FusionProblem(graph, Oracle(graph, options.accelerator_of(accelerator, buffer), scheme))
    masks = invalid_groups(problem, groups, seed)
    return quality(problem, make_explainer(name, problem.oracle, seed), masks)


_LEGEND = """\
{groups} invalid groups of random plans (seed {seed}) of each network. A cut through an edge removes it with the
fewest other edges; it repairs a group if both parts fit, by the exact cost model. *Repairable*: groups that any
single cut repairs, the most that *top 1* and *top 3* (a cut through one of the most important edges) can reach.
*DRAM*: traffic of the best repairing cut through these edges relative to the best repairing cut of all, over
the groups that they repair. *Tree*: groups that the tree split makes valid at the {edges} most important edges.
*Fidelity* to the classifier, of the top {top} edges: + without them (high is good), - with nothing else (low is
good)."""


def markdown(record: dict[str, Any]) -> list[str]:
    """The page docs/explanations.md: one table a network."""
    return [
        "# What explanations are worth",
        "",
        legend(record),
        "",
        f"{machine_note(record['environment'])} Made by `benchmarks/explanations.py`.",
        "",
        *tables(record),
    ]


def legend(record: dict[str, Any]) -> str:
    """What the columns of :func:`tables` are."""
    return _LEGEND.format(groups=record["groups"], seed=record["seed"], edges=EXPLAINED_EDGES, top=TOP)


def tables(record: dict[str, Any]) -> list[str]:
    """One table a network."""
    lines = []
    for net, size in dict.fromkeys((row["network"], row["buffer"]) for row in record["rows"]):
        rows = [row for row in record["rows"] if (row["network"], row["buffer"]) == (net, size)]
        lines += [f"## {net}, {size}: {100 * rows[0]['repairable_rate']:.1f} % repairable", ""]
        lines += markdown_table(
            (
                "explainer",
                "top 1",
                "top 3",
                "DRAM top 1",
                "DRAM top 3",
                "tree",
                "fidelity +",
                "fidelity -",
                "ms a group",
            ),
            ([row["explainer"], *(_cell(row, key, form) for key, form in _CELLS)] for row in rows),
        )
    return lines


_CELLS = (
    ("top1_rate", "%"), ("top3_rate", "%"), ("top1_dram_ratio", "x"), ("top3_dram_ratio", "x"), ("tree_rate", "%"),
    ("fidelity_plus", "x"), ("fidelity_minus", "x"), ("milliseconds_per_group", "ms"),
)  # fmt: skip


def _cell(row: dict[str, Any], key: str, form: str) -> str:
    value = row.get(key)
    if value is None:
        return ""
    return f"{100 * value:.1f} %" if form == "%" else f"{value:.1f}" if form == "ms" else f"{value:.3f}"


def main(
    nets: Annotated[str | None, typer.Option("--nets", help="Names or files by comma.")] = None,
    buffer: options.Buffer = None,
    explainers: Annotated[str | None, typer.Option("--explainers", help="By comma. (default: all)")] = None,
    groups: Annotated[
        int,
        typer.Option("--groups", parser=options.whole("--groups", 1), metavar="N", help="Invalid groups a network."),
    ] = 300,
    seed: options.Seed = 0,
    scheme: Annotated[str, typer.Option("--scheme", help="lbdf, or brr: results in a folder of its own.")] = LBDF,
    accelerator: Annotated[str | None, typer.Option("--accelerator", help="Preset, of brr. (default: edge)")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="(default: benchmarks/explained)")] = None,
    table: Annotated[
        bool, typer.Option("--markdown", help="Print what was measured as a page; measure nothing.")
    ] = False,
) -> int:
    """Measure every explainer on the invalid groups of random plans."""
    names = options.parse_list(explainers, "--explainers") if explainers is not None else explainer_names()
    for name in names:
        check_explainer(name)
    options.accelerator_of(accelerator, buffer)
    options.check_scheme(scheme)
    base = RESULTS if (scheme, accelerator) == (LBDF, None) else RESULTS / scheme / (accelerator or "edge")
    own = CASES if scheme == LBDF else tuple(case for case in CASES if case[0] in TABLE_BRR)
    cases = own if nets is None else [(net, buffer or "256KiB") for net in options.parse_list(nets, "--nets")]
    folder = output_folder(output or base, base, "")
    path = folder / "explanations.json"
    earlier = read_record(path) or {}
    if table:
        if not earlier:
            raise NoAnswerError(f"no results in {str(folder)!r} yet")
        print("\n".join(markdown(earlier)))
        return 0
    record = Record(path, groups=groups, seed=seed)
    same = (earlier.get("groups"), earlier.get("seed")) == (groups, seed)
    rows = list(earlier.get("rows", [])) if same else []
    done = {(row["network"], row["buffer"], row["explainer"]) for row in rows}
    for net, size in cases:
        missing = [name for name in names if (net, size, name) not in done]
        graph = session.load_graph(net, 1, verbose=False) if missing else None
        for name in missing:
            assert graph is not None
            found = measure(graph, size, name, groups, seed, scheme, accelerator)
            rows.append({"network": net, "buffer": size, "explainer": name, **found})
            record.add(rows=rows)
            row = rows[-1]
            print(f"{net} {size} {name}: top 1 {row['top1_rate']:.3f} of {row['repairable_rate']:.3f}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_program(main))
