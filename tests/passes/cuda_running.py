"""Compile CUDA sources of groups, and run a lowered network on them without a GPU."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm

from tests.passes.c_running import run_groups
from tests.passes.modules import Array
from tvm_fusion.passes.cuda_source import CudaSource, cuda_source

SHIM = Path(__file__).parent / "cuda_shim"
STRICT = ["-std=c++14", "-Wall", "-Wextra", "-Werror", "-O1", f"-I{SHIM}"]
ARCHITECTURE = "sm_80"
_GUARD = 64  # bytes after the workspace, which nothing may write


def on_the_host(source: CudaSource, folder: Path) -> Path:
    """A shared library whose kernels run on the host; the test is skipped where there is no C++ compiler."""
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    path = folder / f"source_{len(list(folder.glob('*.cu')))}.cu"
    path.write_text(source.text)
    library = path.with_suffix(".so")
    command = ["c++", "-x", "c++", *STRICT, "-shared", "-fPIC", str(path), "-o", str(library)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + source.text
    return library


def run_in_cuda(lowered: tvm.IRModule, inputs: Sequence[Array], folder: Path, **options: Any) -> list[Array]:
    """Outputs of main, whose every group is executed by its CUDA source, on the host."""

    def execute(name: str, arrays: list[Array]) -> None:
        source = cuda_source(lowered, name, **options)
        launch = getattr(ctypes.CDLL(str(on_the_host(source, folder))), f"{name}_launch")
        workspace = np.full(source.workspace_bytes + _GUARD, 0xFF, np.uint8)
        pointers = [array.ctypes.data_as(ctypes.c_void_p) for array in (*arrays, workspace)]
        assert launch(*pointers, None) == 0
        assert (workspace[source.workspace_bytes :] == 0xFF).all()

    return run_groups(lowered, inputs, execute, options.get("weights", "arguments"))


def nvrtc() -> Any:
    """NVIDIA's compiler as a library; the test is skipped where that is not there."""
    found = pytest.importorskip("cuda.bindings.nvrtc", exc_type=ImportError)
    try:
        found.nvrtcVersion()
    except RuntimeError as error:  # the library itself is not there
        pytest.skip(f"no NVRTC: {error}")
    return found


def assembler(text: str) -> str:
    """PTX that NVRTC makes of a CUDA source."""
    compiler = nvrtc()
    error, program = compiler.nvrtcCreateProgram(text.encode(), b"group.cu", 0, [], [])
    assert error == compiler.nvrtcResult.NVRTC_SUCCESS
    options = [f"--gpu-architecture={ARCHITECTURE}".encode()]
    (error,) = compiler.nvrtcCompileProgram(program, len(options), options)
    log = _read(program, compiler.nvrtcGetProgramLogSize, compiler.nvrtcGetProgramLog)
    assert error == compiler.nvrtcResult.NVRTC_SUCCESS, log + text
    return _read(program, compiler.nvrtcGetPTXSize, compiler.nvrtcGetPTX)


def _read(program: Any, size: Any, get: Any) -> str:
    _, length = size(program)
    content = b" " * length
    get(program, content)
    return content.decode().rstrip("\0")
