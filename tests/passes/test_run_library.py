"""run_library: the same results from the file as from the executable, and one line where it cannot be loaded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tvm

from tests.passes.networks import named
from tvm_fusion.errors import CompileError
from tvm_fusion.passes.execute import random_inputs, run_executable
from tvm_fusion.passes.run_library import run_library


def test_same_results_as_the_executable(tmp_path: Path) -> None:
    module = named("residual")
    executable = tvm.compile(module, "llvm")
    executable.export_library(str(tmp_path / "net.so"))
    inputs = random_inputs(module)
    for found, expected in zip(
        run_library(tmp_path / "net.so", inputs), run_executable(executable, inputs), strict=True
    ):
        np.testing.assert_array_equal(found, expected)


def test_what_cannot_be_loaded_or_run_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.so"
    path.write_bytes(b"no library")
    with pytest.raises(CompileError, match=r"TVM cannot run '.*net\.so'") as caught:
        run_library(path, [])
    assert "\n" not in str(caught.value)
