"""``tvm-fusion train-explainer``: the classifier that the learned explainers ask, and those trained beforehand."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import ExplainerError, FusionError, SchemeError

if TYPE_CHECKING:
    from tvm_fusion.graph.graph import OperatorGraph

EXAMPLE = "Example: tvm-fusion train-explainer -o results/classifier --held-out-networks"
NETWORKS = (
    "vgg16@224,squeezenet1_1@224,mobilenetv2_100@224,mobilenetv3_small_100@224,mobilenetv3_large_100@224,"
    "resnet18@224,resnet101@224,efficientnet_b0@224,efficientnet_b3@300"
)
# Squeeze-and-excite does not suit BRR: as published, its networks are left out of the training, and measured apart.
WITHOUT_SE = "vgg16@224,squeezenet1_1@224,mobilenetv2_100@224,resnet18@224,resnet101@224"
# {scheme: (networks to learn from, networks that are only measured, plans of each to learn from)}
SCHEMES = {
    "lbdf": (NETWORKS, "", 160),
    "brr": (WITHOUT_SE, ",".join(name for name in NETWORKS.split(",") if name not in WITHOUT_SE.split(",")), 400),
}


def train_explainer(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FOLDER", help="Where dataset, checkpoint and figures are written."),
    ],
    scheme: Annotated[
        str, typer.Option("--scheme", metavar="lbdf|brr", help="The scheme in which a group has to fit.")
    ] = "lbdf",
    networks: Annotated[
        str | None,
        typer.Option(
            "--networks",
            metavar="NET,NET",
            help="What the groups are sampled from. (default: nine networks; for brr the five of them without "
            "squeeze-and-excite)",
        ),
    ] = None,
    apart: Annotated[
        str | None,
        typer.Option(
            "--apart",
            metavar="NET,NET",
            help="Networks that the classifier is only measured on. (default: for brr the other four of the nine, "
            "unless --networks is given)",
        ),
    ] = None,
    plans: Annotated[
        int | None,
        typer.Option(
            "--plans",
            parser=options.whole("--plans", 1),
            metavar="N",
            help="Random plans of each network. (default: 160; for brr 400)",
        ),
    ] = None,
    epochs: Annotated[
        int,
        typer.Option(
            "--epochs", parser=options.whole("--epochs", 1), metavar="N", help="Times that every group is seen."
        ),
    ] = 80,
    held_out_networks: Annotated[
        bool,
        typer.Option(
            "--held-out-networks",
            help="Also measure classifiers that never saw one of the networks (a quarter of the epochs each).",
        ),
    ] = False,
    explainers: Annotated[
        bool, typer.Option("--explainers/--no-explainers", help="Also train PGExplainer and RG-Explainer.")
    ] = True,
    seed: options.Seed = 0,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Sample groups at random, label them with the exact cost model, and train validity classifier and explainers.

    Run again with the same options, it goes on where it was stopped.
    """
    from tvm_fusion.cli import session

    try:
        with session.quiet(verbose):
            from tvm_fusion.explainers.train_classifier import TrainingSettings
            from tvm_fusion.explainers.train_in_folder import train_in_folder
    except ImportError as error:
        library = (error.name or "").partition(".")[0]
        if library not in ("torch", "torch_geometric", "safetensors"):
            raise
        raise ExplainerError(f"training needs {library}; pip install 'tvm-fusion[zoo]' brings it") from None
    from tvm_fusion.reports.environment import environment

    if scheme not in SCHEMES:
        raise SchemeError(f"--scheme {scheme!r} cannot be learned; allowed: {', '.join(SCHEMES)}")
    learned, measured, default_plans = SCHEMES[scheme]
    plans = default_plans if plans is None else plans
    if apart is None:
        apart = "" if networks is not None else measured
    names = options.parse_list(learned if networks is None else networks, "--networks")
    others = options.parse_list(apart, "--apart") if apart else []
    _make_folder(output, scheme)
    graphs = [session.load_graph(name, 1, verbose) for name in names]
    graphs_apart = [session.load_graph(name, 1, verbose) for name in others]
    _check_names([*graphs, *graphs_apart])
    words = [] if scheme == "lbdf" else ["--scheme", scheme]
    words += ["-o", "FOLDER", "--networks", ",".join(graph.name for graph in graphs)]
    words += ["--apart", ",".join(graph.name for graph in graphs_apart)] if graphs_apart else []
    words += ["--plans", str(plans), "--epochs", str(epochs), "--seed", str(seed)]
    words += ["--held-out-networks"] if held_out_networks else []
    words += [] if explainers else ["--no-explainers"]
    card = train_in_folder(
        output,
        graphs,
        plans,
        TrainingSettings(epochs=epochs, seed=seed),
        held_out_networks,
        explainers,
        {"command": shlex.join(["tvm-fusion", "train-explainer", *words]), "environment": environment()},
        session.note,
        scheme,
        graphs_apart,
    )
    if as_json:
        session.print_json(card)
        return 0
    session.console().print(_table(card))
    beside = f", {scheme}_pg and {scheme}_rg beside it" if explainers else ""
    print(f"saved {output / f'{scheme}.safetensors'}{beside}")
    return 0


def _make_folder(path: Path, scheme: str) -> None:
    from tvm_fusion.files import check_writable

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FusionError(f"cannot make folder {str(path)!r}: {error.strerror or error}") from None
    check_writable(path / f"{scheme}.safetensors")


def _check_names(graphs: list[OperatorGraph]) -> None:
    names = [graph.name for graph in graphs]
    for name in names:
        if names.count(name) > 1:
            raise ExplainerError(f"--networks and --apart name {name!r} twice")


def _table(card: dict[str, Any]) -> Any:
    from rich.table import Table

    table = Table("held out", "groups", "samples", "accuracy", "F1")
    for column in table.columns[1:]:
        column.justify = "right"
    metrics = card["metrics"]
    networks = {name: scores for name, scores in metrics.get("held_out_networks", {}).items() if name != "epochs"}
    tenths = {"a tenth of the groups": metrics["held_out_groups"]}
    if "held_out_groups_16_bits" in metrics:
        tenths["the same at 16 bits"] = metrics["held_out_groups_16_bits"]
    apart = {f"{name} (apart)": scores for name, scores in metrics.get("apart", {}).items()}
    for name, scores in {**tenths, **networks, **apart}.items():
        counts = f"{scores['groups']:,}", f"{scores['samples']:,}"
        table.add_row(name, *counts, f"{scores['accuracy']:.2%}", f"{scores['f1']:.2%}")
    return table
