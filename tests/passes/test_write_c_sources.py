"""write_c_sources: a folder of files that compile together, or nothing."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.passes.c_running import STRICT
from tests.passes.lowering.lowered import ROOMY
from tests.passes.networks import named, whole
from tests.passes.test_c_source import lowered
from tvm_fusion.errors import CompileError, FusionError
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerSchemes, extract
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.write_c_sources import write_c_sources
from tvm_fusion.passes.write_sources import HEADER


def test_every_group_and_a_header(tmp_path: Path) -> None:
    written = write_c_sources(lowered(named("residual"), (0, 1), (2, 3)), tmp_path / "out")
    names = [HEADER, *(f"fused_group_{k}.c" for k in range(3))]
    assert [path.name for path in written.paths] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert written.left_out == {}
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    # The header before each file: their prototypes must agree.
    for path in written.paths[1:]:
        command = ["cc", *STRICT, "-include", str(written.paths[0]), "-c", str(path), "-o", str(path.with_suffix(".o"))]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_names_what_it_leaves_out(tmp_path: Path) -> None:
    with pytest.warns(LoweringWarning):
        low = lowered(named("tuple of an operator"), (1,))
    written = write_c_sources(low, tmp_path)
    assert set(written.left_out.values()) == {"it is not lowered to line buffers"}
    assert len(written.left_out) + len(written.paths) - 1 == 3


def test_groups_in_bands_are_left_out(tmp_path: Path) -> None:
    mod = named("residual")
    plan = PartitionPlan((Group((0, 1), "brr", {"bands": 2, "kept": []}), Group((2, 3, 4), "lbdf")))
    written = write_c_sources(LowerSchemes()(FuseByPlan(plan, ROOMY)(mod)), tmp_path)
    assert written.left_out == {"fused_group_0": "it is not lowered to line buffers"}
    assert [path.name for path in written.paths] == [HEADER, "fused_group_1.c"]


def test_nothing_is_written_for_wrong_input(tmp_path: Path) -> None:
    mod = named("residual")
    grouped = FuseByPlan(whole(extract(mod).graph), ROOMY)(mod)
    with pytest.raises(CompileError, match="no group that LowerLineBuffer lowered"):
        write_c_sources(grouped, tmp_path / "out")
    low = lowered(mod)
    with pytest.raises(CompileError, match="weights 'x' is not allowed"):
        write_c_sources(low, tmp_path / "out", weights="x")
    with pytest.raises(FusionError, match=r"cannot make folder '.*a/b': No such file"):
        write_c_sources(low, tmp_path / "a" / "b")
    (tmp_path / "file").write_text("")
    with pytest.raises(FusionError, match=r"cannot make folder '.*file': File exists"):
        write_c_sources(low, tmp_path / "file")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
