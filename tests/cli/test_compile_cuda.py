"""compile --target cuda: a CUDA source of every lowered group, with a block for every thread."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, write_plan
from tests.cli.test_compile_c import BESIDE, names
from tests.passes.cuda_running import STRICT, assembler
from tests.passes.lowering.lowered import shared_always
from tvm_fusion.cli.compiled_files import SOURCE_HEADER

SOURCES = {"fused_group_0.cu", "fused_group_1.cu"}


@pytest.mark.parametrize("target", ["cuda", '{"kind": "cuda", "arch": "sm_80"}'])
def test_files_that_compile(cli: Cli, network: Path, tmp_path: Path, target: str) -> None:
    plan, out = write_plan(tmp_path / "p.json", [0, 1], [2, 3, 4]), tmp_path / "out"
    with shared_always():
        outcome = cli("compile", network, "--plan", plan, "--target", target, "-o", out, "--threads", 2)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"saved {SOURCE_HEADER} and CUDA sources of 2 groups in {out}")
    assert names(out) == BESIDE | SOURCES
    metadata = json.loads((out / "network.json").read_text())
    assert set(metadata["sources"]) == {SOURCE_HEADER, *SOURCES}
    assert metadata["target"] == target
    for name in SOURCES:
        assert "_kernel_1, 2," in (out / name).read_text()  # two blocks
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler")
    for name in SOURCES:  # the header before each file: their declarations must agree
        command = ["c++", "-x", "c++", *STRICT, "-include", out / SOURCE_HEADER, "-c", out / name, "-o", tmp_path / "o"]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_nvrtc_compiles_them(cli: Cli, network: Path, tmp_path: Path) -> None:
    assert cli("compile", network, "--target", "cuda", "-o", tmp_path / "out").code == 0
    for path in (tmp_path / "out").glob("*.cu"):
        assert ".entry fused_group_0_kernel_0" in assembler(path.read_text())


def test_sources_of_another_language_go(cli: Cli, network: Path, tmp_path: Path) -> None:
    for target, suffix in (("c", "c"), ("cuda", "cu"), ("c", "c")):
        assert cli("compile", network, "--target", target, "-o", tmp_path / "out").code == 0
        assert names(tmp_path / "out") == BESIDE | {f"fused_group_0.{suffix}"}


def test_what_makes_no_sense(cli: Cli, network: Path, image: Path, tmp_path: Path) -> None:
    cuda = ("--target", "cuda", "-o")
    cli("compile", network, *cuda, tmp_path / "x.so").refused("x.so", "--target cuda writes CUDA sources")
    cli("compile", network, *cuda, tmp_path / "out", "--no-lower").refused("--target cuda", "--no-lower")
    cli("compile", network, "--target", "c", "-o", tmp_path / "out", "--threads", 2).refused("--threads 2", "cuda")
    assert cli("compile", network, *cuda, tmp_path / "out").code == 0
    cli("run", tmp_path / "out", "--input", image, "-o", tmp_path / "y.npy").refused("CUDA sources", "--target llvm")
    cli("compile", network, "-o", tmp_path / "out").refused("out", "holds CUDA sources", "new or empty")
