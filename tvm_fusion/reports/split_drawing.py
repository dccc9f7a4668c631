"""An explained split as a drawing: edges by importance, cuts dashed, one box a part."""

from __future__ import annotations

from pathlib import Path

from tvm_fusion.errors import FusionError
from tvm_fusion.files import write_bytes_atomic
from tvm_fusion.reports.split_explanation import SplitExplanation

_COLOURS = ("#dbe9f6", "#fde7d3", "#dff0d8", "#f2e2f3", "#fdf6cf", "#e3e3e3")


def draw_split(explanation: SplitExplanation, path: str | Path, form: str) -> None:
    """Write the drawing as ``form`` "png" or "svg".

    Raises FusionError without the package graphviz, without its program ``dot``, or if ``path`` cannot be written.
    """
    try:
        import graphviz
    except ImportError:
        raise FusionError(
            "drawings need the package graphviz; install it with: pip install 'tvm-fusion[plot]'"
        ) from None
    drawing = graphviz.Digraph(graph_attr={"rankdir": "TB", "label": _title(explanation), "labelloc": "t"})
    drawing.attr("node", shape="box", style="filled,rounded", fillcolor="white", fontname="Helvetica", fontsize="11")
    drawing.attr("edge", fontname="Helvetica", fontsize="9")
    graph = explanation.graph
    for number, part in enumerate(explanation.parts):
        with drawing.subgraph(name=f"cluster_{number}") as box:
            box.attr(
                label=f"part {number}: {part.buffer_bytes / 1024:.1f} KiB, {part.dram_bytes / 1e6:.3f} MB",
                style="filled",
                color=_COLOURS[number % len(_COLOURS)],
            )
            for i in part.operators:
                operator = graph.operators[i]
                box.node(str(i), f"{i} {operator.type}\n{'x'.join(map(str, operator.shape))}")
    cuts = set(explanation.cuts)
    least, most = min(explanation.scores.values()), max(explanation.scores.values())
    for edge, score in explanation.scores.items():
        importance = (score - least) / (most - least) if most > least else 0.0
        drawing.edge(
            *map(str, edge),
            label=f"{score:.2g}",
            penwidth=f"{1 + 4 * importance:.2f}",
            color=_heat(importance),
            style="dashed" if edge in cuts else "solid",
        )
    try:
        picture = drawing.pipe(format=form)
    except graphviz.ExecutableNotFound:
        raise FusionError(
            "drawings need the program dot of Graphviz; install Debian's or your system's graphviz"
        ) from None
    write_bytes_atomic(path, picture)


def _title(explanation: SplitExplanation) -> str:
    return (
        f"{explanation.graph.name}: {explanation.buffer_bytes / 1024:.1f} KiB needed of "
        f"{explanation.accelerator_buffer_bytes / 1024:g} KiB; edges by {explanation.explainer}, cuts dashed"
    )


def _heat(importance: float) -> str:
    """Grey to red."""
    cold, hot = (150, 150, 150), (200, 30, 30)
    return "#" + "".join(f"{round(a + (b - a) * importance):02x}" for a, b in zip(cold, hot, strict=True))
