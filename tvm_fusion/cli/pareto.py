"""``tvm-fusion pareto``: what more traffic buys, as a front of plans."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tvm_fusion.cli import options
from tvm_fusion.errors import SearchError

if TYPE_CHECKING:
    from tvm_fusion.cost_models.accelerator import Accelerator

EXAMPLE = "Example: tvm-fusion pareto efficientnet_b3@300 --against macs --png front.png"
_SIZES = "64KiB,96KiB,128KiB,192KiB,256KiB,384KiB,512KiB,768KiB,1MiB"


def pareto(
    net: options.Net,
    against: Annotated[
        str,
        typer.Option(
            "--against",
            metavar="buffer|macs|energy|cycles",
            help="What DRAM bytes are weighed against: the buffer, MACs executed again, estimated energy or cycles.",
        ),
    ] = "macs",
    buffers: Annotated[
        str, typer.Option("--buffers", metavar="SIZE,SIZE", help="Sizes to try with --against buffer.")
    ] = _SIZES,
    points: Annotated[
        int, typer.Option("--points", parser=options.whole("--points", 2), metavar="N", help="Most points of a front.")
    ] = 20,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Save every point with its plan as JSON.")
    ] = None,
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE", help="Draw the front (needs matplotlib).")
    ] = None,
    batch: options.Batch = 1,
    accelerator: options.AcceleratorName = None,
    buffer: options.Buffer = None,
    activation_bits: options.ActivationBits = None,
    weight_bits: options.WeightBits = None,
    scheme: options.Scheme = "auto",
    recompute: options.Recompute = True,
    seed: options.Seed = 0,
    cache: options.CacheFolder = None,
    as_json: options.AsJson = False,
    verbose: options.Verbose = False,
) -> int:
    """Plans of which none is better in DRAM bytes and in a second number, by as many searches as it takes.

    Of recomputed MACs, energy and cycles the front is its convex hull, exact where every search is.
    """
    from tvm_fusion.cli import session
    from tvm_fusion.cost_models.accelerator import parse_size
    from tvm_fusion.cost_models.objective import AGAINST
    from tvm_fusion.files import check_writable, write_text_atomic

    if against not in ("buffer", *AGAINST):
        raise SearchError(f"--against {against!r} is unknown; allowed: buffer, {', '.join(AGAINST)}")
    sizes = [parse_size(text) for text in options.parse_list(buffers, "--buffers")]
    for path in (output, png):
        if path is not None:
            check_writable(path)
    options.check_scheme(scheme)
    hardware = options.accelerator_of(accelerator, buffer, activation_bits, weight_bits)
    if png is not None:
        from tvm_fusion.reports.figures import new_figure

        new_figure()  # refuse now if there is no matplotlib
    graph = session.load_graph(net, batch, verbose)
    from tvm_fusion.cost_models.group_cache import GroupCache
    from tvm_fusion.cost_models.oracle import Oracle
    from tvm_fusion.reports.front import front_json, front_table, plot_front
    from tvm_fusion.search.pareto import buffer_front, pareto_front

    def make_oracle(accelerator: Accelerator) -> Oracle:
        known = None if cache is None else GroupCache.in_folder(cache, graph, accelerator)
        return Oracle(graph, accelerator, scheme, recompute=recompute, cache=known)

    if against == "buffer":
        found = buffer_front(graph, hardware, sizes, make_oracle, seed=seed)
    else:
        found = pareto_front(graph, make_oracle(hardware), against, points, seed=seed)
    data = front_json(found, graph, against, accelerator=hardware.to_json(), seed=seed)
    if output is not None:
        write_text_atomic(output, json.dumps(data, indent=1) + "\n")
    if png is not None:
        plot_front(found, graph, against, png)
    if as_json:
        session.print_json(data)
        return 0
    session.console().print(front_table(found, graph, against))
    for path in (output, png):
        if path is not None:
            print(f"wrote {path}")
    return 0
