"""line_buffer_writer: what writes the PrimFunc of an LBDF group, for one thread or for several."""

from __future__ import annotations

from collections.abc import Mapping

from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.row_blocks import RowBlocks, row_blocks
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
    blocks = _best_blocks(group, options) if options.shares(group.graph) else None
    if blocks is not None:
        shared = BlockFunction(group, functions, result_shapes, options, blocks)
        if shared.combines:
            return shared
    return RowFunction(group, functions, result_shapes, options)


def _best_blocks(group: Group, options: LoweringOptions) -> RowBlocks | None:
    """The fastest of all numbers of blocks, None if no one is fast enough."""
    lines = LineBufferModel(group.graph, OWN_WIDTHS).lines(group.everything)
    made = (row_blocks(group.graph, group.everything, lines, count) for count in range(2, options.threads + 1))
    fast = [blocks for blocks in made if blocks is not None and blocks.speedup > LEAST_SPEEDUP]
    return max(fast, key=lambda blocks: blocks.speedup, default=None)
