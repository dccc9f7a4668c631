"""LowerLineBuffer: every LBDF group becomes one PrimFunc that keeps only line buffers on chip."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.passes.lowering.lower_schemes import lower_schemes
from tvm_fusion.passes.lowering.options import check_options, options_for_target
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import LAYER, LBDF


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerLineBuffer")
class LowerLineBuffer:
    """Group functions with the scheme "lbdf" as PrimFuncs that make one row at a time, in the order of LBDF; those of
    one operator with the scheme "layer" as loops over its rows.

    Line buffers, with the line counts of the cost model, and weights are in buffers of ``scope``, sums that an
    operator adds up in scope "global.accumulator"; inputs are read and outputs written once. Each PrimFunc keeps the
    group's attributes and takes one more argument, the order of its rows. A group with an operator that does not go row
    by row stays as it is, with a LoweringWarning that names the operator and the reason.

    With several ``threads`` those share the rows of a group where that pays, each with line buffers of its own (see
    :mod:`tvm_fusion.cost_models.row_blocks`); a layer alone is shared where it is large.

    Raises CompileError for a scope that is none of TVM's, and for ``threads`` below 1.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None, threads: int = 1) -> None:
        check_options(scope, threads)
        self.scope = scope
        self.vector_bytes = vector_bytes
        self.threads = threads

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        return lower_schemes(mod, options_for_target(self.scope, self.vector_bytes, self.threads), (LBDF, LAYER))
