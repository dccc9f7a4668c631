"""LowerBands: every BRR group becomes one PrimFunc that goes over bands of rows, one operator after another in each."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.passes.lowering.lower_schemes import lower_schemes
from tvm_fusion.passes.lowering.options import check_options, options_for_target
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import BRR


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerBands")
class LowerBands:
    """Group functions with the scheme "brr" as PrimFuncs that execute in bands, as many as their parameters say.

    Bands and weights are in buffers of ``scope``, which share memory where they are not there at one time (see
    VerifyMemory); what an operator needs beside them for a row is in scope "global.accumulator". Halo rows are loaded
    or made again in every band, rows of a result are written once. Weights of the operators that the parameters say
    are kept are loaded once, those of the others in parts of their channels for every band and image. One thread
    executes a group. Each PrimFunc keeps the group's attributes and takes one more argument, the rows of every band. A
    group with an operator that does not go so stays as it is, with a LoweringWarning that names operator and reason.

    Raises CompileError for a scope that is none of TVM's.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None) -> None:
        check_options(scope)
        self.scope = scope
        self.vector_bytes = vector_bytes

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        return lower_schemes(mod, options_for_target(self.scope, self.vector_bytes), (BRR,))
