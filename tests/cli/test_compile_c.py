"""compile --target c: a C source of every lowered group with plan and memory report, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from onnx import helper

from tests.cli.conftest import Cli, write_plan
from tests.cli.onnx_models import heavy, save
from tests.passes.c_running import STRICT
from tvm_fusion.cli.compiled_files import SOURCE_HEADER

BESIDE = {SOURCE_HEADER, "network.json", "plan.json", "memory.json", "memory.md"}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_files_that_compile(cli: Cli, network: Path, tmp_path: Path) -> None:
    plan, out = write_plan(tmp_path / "p.json", [0, 1], [2, 3, 4]), tmp_path / "out"
    outcome = cli("compile", network, "--plan", plan, "--target", "c", "-o", out)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith(f"saved {SOURCE_HEADER} and C sources of 2 groups in {out}")
    sources = {"fused_group_0.c", "fused_group_1.c"}
    assert names(out) == BESIDE | sources
    assert set(json.loads((out / "network.json").read_text())["sources"]) == {SOURCE_HEADER, *sources}
    assert cli("evaluate", network, "--plan", out / "plan.json").code == 0
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    for name in sources:
        command = ["cc", *STRICT, "-include", out / SOURCE_HEADER, "-c", out / name, "-o", tmp_path / "group.o"]
        done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_memory_maps_of_report_and_sources_agree(cli: Cli, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    options = ("--alignment", 256, "--scope", "global.scratchpad", "--png", tmp_path / "map.png")
    outcome = cli("compile", network, "--target", '{"kind": "c"}', "-o", out, *options)
    assert outcome.code == 0, outcome.err
    (group,) = json.loads((out / "memory.json").read_text())["groups"]
    said = [(int(address, 16), int(size)) for address, size in re.findall(
        r"^ \*   0x(\w+) +(\d+) ", (out / "fused_group_0.c").read_text(), re.MULTILINE
    )]  # fmt: skip
    assert said == [(entry["address"], entry["bytes"]) for entry in group["lowered"]["memory_map"]]
    assert len(said) > 1
    assert all(address % 256 == 0 for address, _ in said)
    assert (tmp_path / "map.png").is_file()


def test_sources_of_an_earlier_plan_go(cli: Cli, network: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    for groups in ([[0, 1], [2, 3, 4]], [[0, 1, 2, 3, 4]]):
        plan = write_plan(tmp_path / "p.json", *groups)
        assert cli("compile", network, "--plan", plan, "--target", "c", "-o", out).code == 0
        assert names(out) == BESIDE | {f"fused_group_{k}.c" for k in range(len(groups))}


def test_what_has_no_source_is_told_with_its_reason(cli: Cli, tmp_path: Path) -> None:
    net, out = heavy(tmp_path / "heavy.onnx"), tmp_path / "out"
    outcome = cli("compile", net, "--target", "c", "-o", out, "--json")
    assert outcome.code == 0
    assert outcome.err == "tvm-fusion: no C source of fused_group_0: it executes layer by layer\n"
    assert outcome.json["left_out"] == {"fused_group_0": "it executes layer by layer"}
    assert names(out) == BESIDE | {"fused_group_1.c"}
    nodes = [helper.make_node("TopK", ["x", "k"], ["y", "indices"])]
    net = save(tmp_path / "top.onnx", nodes, {"k": np.asarray([3])}, [1, 4, 8, 8], [1, 4, 8, 3])
    cli("compile", net, "--target", "c", "-o", tmp_path / "none").refused("no group", "nothing to write as C")
    assert not (tmp_path / "none").exists()


def test_what_makes_no_sense_with_sources(cli: Cli, network: Path, image: Path, tmp_path: Path) -> None:
    cli("compile", network, "--target", "c", "-o", tmp_path / "x.so").refused("x.so", "--target c", "give a folder")
    cli("compile", network, "--target", "c", "-o", tmp_path / "out", "--no-lower").refused("--target c", "--no-lower")
    assert names(tmp_path) == {network.name, image.name}
    assert cli("compile", network, "--target", "c", "-o", tmp_path / "out").code == 0
    y = tmp_path / "y.npy"
    cli("run", tmp_path / "out", "--input", image, "-o", y).refused("out", "C sources", "--target llvm")
    cli("compile", network, "-o", tmp_path / "out").refused("out", "holds C sources", "new or empty")
    assert names(tmp_path / "out") == BESIDE | {"fused_group_0.c"}


def test_sources_do_not_go_into_the_folder_of_a_library(cli: Cli, folder: Path, network: Path) -> None:
    before = names(folder)
    cli("compile", network, "--target", "c", "-o", folder).refused("out", "holds a library", "new or empty")
    assert names(folder) == before
