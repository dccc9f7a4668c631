"""Run a compiled network from its library."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import tvm

from tvm_fusion.errors import CompileError
from tvm_fusion.passes.compile_plan import first_line
from tvm_fusion.passes.execute import Array, run_executable


def run_library(library: Path, inputs: Sequence[Array]) -> list[Array]:
    """Outputs of ``main`` on the processor; the library's code is executed, so it must be one that can be trusted.

    ``inputs`` have the shapes and dtypes that it was compiled for. Raises CompileError in one line if it cannot be
    loaded or fails.
    """
    try:
        return run_executable(tvm.runtime.load_module(str(library.absolute())), list(inputs))
    except Exception as error:  # TVM raises many kinds
        raise CompileError(f"TVM cannot run {str(library)!r}: {first_line(error)}") from error
