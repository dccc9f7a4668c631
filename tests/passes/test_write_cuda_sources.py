"""write_cuda_sources: a folder of files whose header and launches agree."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.passes.cuda_running import STRICT
from tests.passes.lowering.lowered import ROOMY
from tests.passes.networks import named, whole
from tests.passes.test_c_source import lowered
from tvm_fusion.errors import CompileError
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.write_cuda_sources import write_cuda_sources
from tvm_fusion.passes.write_sources import HEADER


def test_every_group_and_a_header(tmp_path: Path) -> None:
    written = write_cuda_sources(lowered(named("residual"), (0, 1), (2, 3)), tmp_path / "out")
    assert [path.name for path in written.paths] == [HEADER, *(f"fused_group_{k}.cu" for k in range(3))]
    assert written.left_out == {}
    header = written.paths[0].read_text()
    for group in range(3):
        assert f"#define FUSED_GROUP_{group}_WORKSPACE_BYTES " in header
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    for path in written.paths[1:]:
        command = ["c++", "-x", "c++", *STRICT, "-include", written.paths[0], "-c", path, "-o", tmp_path / "group.o"]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    (tmp_path / "main.c").write_text(f'#include "out/{HEADER}"\n')  # for hosts in C too
    shim = STRICT[-1]
    command = ["c++", "-x", "c", "-Wall", "-Werror", shim, "-c", tmp_path / "main.c", "-o", tmp_path / "main.o"]
    assert subprocess.run(list(map(str, command)), check=False).returncode == 0


def test_nothing_is_written_for_wrong_input(tmp_path: Path) -> None:
    mod = named("residual")
    grouped = FuseByPlan(whole(extract(mod).graph), ROOMY)(mod)
    with pytest.raises(CompileError, match="there is nothing to write as CUDA"):
        write_cuda_sources(grouped, tmp_path / "out")
    with pytest.raises(CompileError, match="no group can be written as CUDA; fused_group_0: shared_bytes -1 is not"):
        write_cuda_sources(lowered(mod), tmp_path / "out", shared_bytes=-1)
    assert not (tmp_path / "out").exists()
