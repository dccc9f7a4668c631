"""``tvm-fusion graph``: the operators of a network."""

from __future__ import annotations

from tvm_fusion.cli import options

EXAMPLE = "Example: tvm-fusion graph resnet18 --json > resnet18.json"


def graph(
    net: options.Net,
    batch: options.Batch = 1,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Show the operators of a network: operands, shapes, weights, MACs, sliding windows."""
    from tvm_fusion.cli import session

    found = session.load_graph(net, batch, verbose)
    if as_json:
        from tvm_fusion.graph.graph_io import graph_to_json

        session.print_json(graph_to_json(found))
        return 0
    from tvm_fusion.reports.table import graph_table

    session.console().print(graph_table(found))
    for warning in found.warnings:
        print(f"warning: {warning}")
    return 0
