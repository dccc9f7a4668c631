"""``tvm-fusion explain``: why a group does or does not fit on chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import PlanError, SchemeError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.graph.graph import OperatorGraph
    from tvm_fusion.graph.plan import Group, PartitionPlan
    from tvm_fusion.reports.split_explanation import SplitExplanation

EXAMPLE = "Example: tvm-fusion explain resnet18 --operators 0-9 --buffer 64KiB --explainer gnnexplainer --png why.png"


def explain(
    net: options.Net,
    plan: options.PlanFile = None,
    group: Annotated[
        int | None,
        typer.Option(
            "--group", parser=options.whole("--group", 0), metavar="N", help="Number of a group of --plan, from 0."
        ),
    ] = None,
    operators: Annotated[
        str | None, typer.Option("--operators", metavar="IDS", help="Operator ids: 0,1,2 or 3-9.")
    ] = None,
    explainer: Annotated[
        str | None,
        typer.Option(
            "--explainer",
            metavar="NAME",
            help="Score the edges of an invalid group and propose a split: gnnexplainer, pgexplainer, rgexplainer, "
            "occlusion, saliency, random, or a registered one.",
        ),
    ] = None,
    seed: options.Seed = 0,
    png: Annotated[Path | None, typer.Option("--png", metavar="FILE", help="Draw the explained split.")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", metavar="FILE", help="The same as SVG.")] = None,
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.ExplainScheme = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Explain a group: bytes by tensor against the buffer, and the smallest buffer at which it fits.

    Give either --plan with --group, or --operators. Exit code 0 whether the group fits or not. With --explainer
    also the edges at fault, the split that they propose and what it saves; exit code 1 if there is nothing to split.
    """
    from tvm_fusion.cli import session
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.explainers.registry import check_explainer
    from tvm_fusion.files import check_writable
    from tvm_fusion.reports.explanation import explain_group, explained_schemes

    if (operators is None) == (plan is None) or (plan is None) != (group is None):
        raise PlanError("give either --operators 0,1,2 or both --plan FILE and --group NUMBER")
    if explainer is None and (png or svg):
        raise PlanError("--png and --svg draw what --explainer NAME says; give one")
    if explainer is not None:
        check_explainer(explainer)
    for path in filter(None, (png, svg)):
        check_writable(path)
    ids = options.parse_operators(operators) if operators is not None else ()
    if scheme is not None:
        explained_schemes(scheme)
    options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)  # refuse bad options before long work
    graph = session.load_graph(net, batch, verbose)
    saved: PartitionPlan | None = None
    if plan is not None and group is not None:
        from tvm_fusion.graph.plan_io import load_plan

        saved = load_plan(plan, graph)
        if not 0 <= group < len(saved.groups):
            raise PlanError(f"--group {group} is not in the plan; it has groups 0 .. {len(saved.groups) - 1}")
        ids = saved.groups[group].operators
    else:
        _check_group(graph, ids)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits, saved)
    if scheme is None:
        scheme = _scheme_of(saved.groups[group], graph, hardware) if saved is not None and group is not None else "lbdf"
    explanation = explain_group(graph, ids, hardware, scheme)
    split = None if explainer is None else _explained(Oracle(graph, hardware, scheme), ids, explainer, seed)
    if split is not None:
        from tvm_fusion.reports.split_drawing import draw_split

        for picture, form in ((png, "png"), (svg, "svg")):
            if picture is not None:
                draw_split(split, picture, form)
    if as_json:
        session.print_json(explanation.to_json() | ({"split": split.to_json()} if split else {}))
        return 0
    from tvm_fusion.reports.table import explanation_table

    session.console().print(explanation_table(explanation))
    print(explanation.verdict())
    if split is not None:
        from tvm_fusion.reports.split_tree import split_tree

        session.console().print(split_tree(split))
        print(split.verdict())
    return 0


def _scheme_of(group: Group, graph: OperatorGraph, hardware: Accelerator) -> str:
    """The scheme that a plan names for a group, with LBDF if it executes no operator alone; LBDF if it names none.

    Layer by layer there is nothing to explain.
    """
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.cost_models.schemes.registry import ALWAYS

    if group.scheme is None or group.scheme == ALWAYS:
        return "lbdf"
    try:
        Oracle(graph, hardware, group.scheme)
    except SchemeError:
        return f"lbdf,{group.scheme}"
    return group.scheme


def _explained(oracle: Oracle, ids: tuple[int, ...], name: str, seed: int) -> SplitExplanation:
    from tvm_fusion.cli import session
    from tvm_fusion.explainers.registry import make_explainer
    from tvm_fusion.graph.graph import mask_of
    from tvm_fusion.reports.split_explanation import explain_split
    from tvm_fusion.search.problem import FusionProblem

    explainer = make_explainer(name, oracle, seed)
    found = explain_split(FusionProblem(oracle.graph, oracle), mask_of(ids), explainer, name)
    if explainer.remark:
        session.note(explainer.remark)
    return found


def _check_group(graph: OperatorGraph, ids: tuple[int, ...]) -> None:
    """Raise PlanError unless ``ids`` could be a group: known, connected, on no cycle."""
    from tvm_fusion.graph.plan import Group, PartitionPlan, check_plan

    chosen = set(ids)
    rest = tuple(Group((i,)) for i in range(len(graph)) if i not in chosen)
    check_plan(graph, PartitionPlan((Group(ids), *rest)))
