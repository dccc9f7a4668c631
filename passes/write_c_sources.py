"""write_c_sources: every lowered group of a module as a C file, and one header for all."""

from __future__ import annotations

from pathlib import Path

from tvm.ir import IRModule

from tvm_fusion.passes.c_source import CSource, c_source
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.verify_memory import VerifyMemory
from tvm_fusion.passes.write_sources import Language, WrittenSources, write_sources

_C = Language("C", ".c", ("#include <stdbool.h>", "#include <stdint.h>"))


def write_c_sources(
    mod: IRModule, folder: str | Path, weights: str = "arguments", scope: str = DEFAULT_SCOPE, alignment: int = 1
) -> WrittenSources:
    """Write ``GROUP.c`` for every group that LowerLineBuffer lowered, and ``tvm_fusion_groups.h``, into ``folder``.

    Options as in :func:`c_source`; addresses in the memory map are multiples of ``alignment``. Raises what
    :func:`write_sources` raises.
    """

    def generate(verified: IRModule, name: str) -> CSource:
        return c_source(verified, name, weights, scope)

    return write_sources(mod, folder, _C, generate, VerifyMemory(scope, alignment))
