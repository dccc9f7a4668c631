"""LowerChannels: every group of channel streaming becomes one PrimFunc that goes over channels, phase after phase."""

from __future__ import annotations

from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.passes.lowering.lower_schemes import lower_schemes
from tvm_fusion.passes.lowering.options import check_options, options_for_target
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import STREAMING


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerChannels")
class LowerChannels:
    """Group functions with the scheme "channel-streaming" as PrimFuncs that execute phase after phase, as their
    parameters say.

    Tensors that are held whole, one channel of each that passes, and the weights of one channel are in buffers of
    ``scope``, which share memory where they are not there in one phase (see VerifyMemory); what an operator needs
    beside them, and a second operand in place, is in scope "global.accumulator". What adds up the channels of a stream
    does so where its result will be. Weights pass once for every phase and image, outputs are written once. One thread
    executes a group. Each PrimFunc keeps the group's attributes and takes one more argument, the channels of every
    phase. A group with an operator that does not go so stays as it is, with a LoweringWarning that names operator and
    reason.

    Raises CompileError for a scope that is none of TVM's.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None) -> None:
        check_options(scope)
        self.scope = scope
        self.vector_bytes = vector_bytes

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        return lower_schemes(mod, options_for_target(self.scope, self.vector_bytes), (STREAMING,))
