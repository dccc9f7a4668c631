"""write_cuda_sources: every lowered group of a module as a CUDA file, and one header for all."""

from __future__ import annotations

from pathlib import Path

from tvm.ir import IRModule

from tvm_fusion.passes.cuda_source import STATIC_SHARED_BYTES, CudaSource, cuda_source
from tvm_fusion.passes.lowering.row_buffers import DEFAULT_SCOPE
from tvm_fusion.passes.verify_memory import VerifyMemory
from tvm_fusion.passes.write_sources import Language, WrittenSources, write_sources

_CUDA = Language(
    "CUDA",
    ".cu",
    (
        "#include <cuda_runtime_api.h>",
        "#include <stdbool.h>",
        "#include <stdint.h>",
        "#ifdef __cplusplus",
        'extern "C" {',
        "#endif",
    ),
    ("#ifdef __cplusplus", "}", "#endif"),
)


def write_cuda_sources(
    mod: IRModule,
    folder: str | Path,
    weights: str = "arguments",
    scope: str = DEFAULT_SCOPE,
    shared_bytes: int = STATIC_SHARED_BYTES,
) -> WrittenSources:
    """Write ``GROUP.cu`` for every group that LowerLineBuffer lowered, and ``tvm_fusion_groups.h``, into ``folder``.

    The header is one for C and C++. Options as in :func:`cuda_source`. Raises what :func:`write_sources` raises.
    """

    def generate(verified: IRModule, name: str) -> CudaSource:
        return cuda_source(verified, name, weights, scope, shared_bytes)

    return write_sources(mod, folder, _CUDA, generate, VerifyMemory(scope))
