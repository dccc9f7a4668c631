"""An explained split as a tree for the terminal: the group, its parts, their operators and the edges into them."""

from __future__ import annotations

from rich.markup import escape
from rich.tree import Tree

from tvm_fusion.reports.split_explanation import SplitExplanation
from tvm_fusion.reports.table import megabytes


def split_tree(explanation: SplitExplanation) -> Tree:
    """Operators stand below their part; edges that the split cuts are marked ``cut``."""
    graph = explanation.graph
    part_of = {i: k for k, part in enumerate(explanation.parts) for i in part.operators}
    highest = max(explanation.scores.values(), default=0.0)
    tree = Tree(
        f"group of {len(explanation.operators)} operators: needs {explanation.buffer_bytes / 1024:.1f} of "
        f"{explanation.accelerator_buffer_bytes / 1024:g} KiB; edge scores by {escape(explanation.explainer)}"
    )
    for number, part in enumerate(explanation.parts):
        branch = tree.add(
            f"[bold]part {number}[/bold]: {len(part.operators)} operators, {part.buffer_bytes / 1024:.1f} KiB, "
            f"{part.scheme}, moves {megabytes(part.dram_bytes)} MB"
        )
        for i in part.operators:
            operator = graph.operators[i]
            edges = [edge for edge in explanation.scores if edge[1] == i]
            texts = []
            for producer, _ in sorted(edges):
                score = explanation.scores[producer, i]
                text = f"{producer} ({score:.3g})"
                if part_of[producer] != number:
                    text = f"[red]cut {text}[/red]"
                elif score == highest:
                    text = f"[yellow]{text}[/yellow]"
                texts.append(text)
            reads = f"  <- {', '.join(texts)}" if texts else ""
            branch.add(f"{i} {operator.type} {escape(operator.name)}{reads}")
    return tree
