"""line_buffer_writer: what writes the PrimFunc of an LBDF group, for one thread or for several."""

from __future__ import annotations

from collections.abc import Mapping

from tvm_fusion.cost_models.row_blocks import row_blocks
from tvm_fusion.passes.lowering.block_function import BlockFunction
from tvm_fusion.passes.lowering.group import Group
from tvm_fusion.passes.lowering.operator_functions import OperatorFunction
from tvm_fusion.passes.lowering.options import LoweringOptions
from tvm_fusion.passes.lowering.row_function import RowFunction

LEAST_SPEEDUP = 1.2


def line_buffer_writer(
    group: Group,
    functions: Mapping[int, OperatorFunction],
    result_shapes: list[tuple[int, ...]],
    options: LoweringOptions,
) -> RowFunction:
    """A BlockFunction where several threads are faster by the counts of the cost model, else a RowFunction.

    Raises NotLowered if an operator does not go row by row.
    """
    alone = RowFunction(group, functions, result_shapes, options)
    graph = group.graph
    if not options.shares(graph):
        return alone
    best = None
    for count in range(2, options.threads + 1):
        blocks = row_blocks(graph, group.everything, alone.buffers.lines, count)
        least = LEAST_SPEEDUP if best is None else best.speedup
        if blocks is not None and blocks.speedup > least:
            best = blocks
    if best is None:
        return alone
    shared = BlockFunction(group, functions, result_shapes, options, best)
    return shared if shared.combines else alone
