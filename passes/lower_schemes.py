"""LowerSchemes: the groups of all schemes that have a lowering, in one pass."""

from __future__ import annotations

import warnings
from typing import Any

import tvm
from tvm.ir import IRModule

from tvm_fusion.passes.attributes import SCHEME, group_functions
from tvm_fusion.passes.lowering.lower_schemes import lower_schemes
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.lowering.options import check_options, options_for_target
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import SCHEME_WRITERS


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.LowerSchemes")
class LowerSchemes:
    """What LowerLineBuffer, LowerBands, LowerPasses and LowerChannels do, together.

    Tensors between their groups then lie by rows.

    Groups of a scheme without a lowering stay as they are, with a LoweringWarning. Options and errors as those of
    LowerLineBuffer.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, vector_bytes: int | None = None, threads: int = 1) -> None:
        check_options(scope, threads)
        self.scope = scope
        self.vector_bytes = vector_bytes
        self.threads = threads

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with lowered groups; ``mod`` stays as it is."""
        for name, attributes in group_functions(mod).items():
            if str(attributes[SCHEME]) not in SCHEME_WRITERS:
                reason = f"scheme {str(attributes[SCHEME])!r} has no lowering"
                warnings.warn(LoweringWarning(name, reason), stacklevel=2)
        return lower_schemes(mod, options_for_target(self.scope, self.vector_bytes, self.threads), SCHEME_WRITERS)
