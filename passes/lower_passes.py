"""LowerPasses: every group in passes becomes one PrimFunc that makes its rows several times, scales in between."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.passes.lowering.lower_schemes import lower_schemes
from tvm_fusion.passes.lowering.options import check_options, options_for_target
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import TWO_PASS


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerPasses")
class LowerPasses:
    """Group functions with the scheme "two-pass" as PrimFuncs that execute in passes, as their parameters say.

    Every pass makes rows in the order of LBDF, in line buffers of its own in ``scope``, which share memory with those
    of other passes (see VerifyMemory); scales stay there until the last pass that reads them. Inputs are read once in
    each pass that needs them, results written once. Weights of the operators that the parameters say are kept are
    loaded once, others for the passes that use them. One thread executes a group. Each PrimFunc keeps the group's
    attributes and takes one more argument, the order of the rows of all passes. A group with an operator that does not
    go row by row stays as it is, with a LoweringWarning that names operator and reason.

    Raises CompileError for a scope that is none of TVM's.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None) -> None:
        check_options(scope)
        self.scope = scope
        self.vector_bytes = vector_bytes

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        return lower_schemes(mod, options_for_target(self.scope, self.vector_bytes), (TWO_PASS,))
