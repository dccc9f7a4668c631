"""compile into a folder or a library: what is written, how groups are lowered, and what is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.cli.conftest import Cli, write_plan
from tests.cli.onnx_models import convnet, heavy, save
from tests.passes.lowering.lowered import shared_always

FILES = {"network.so", "network.json", "plan.json", "memory.json", "memory.md", "run.py"}


def test_files(compiled: Path) -> None:
    assert {path.name for path in compiled.iterdir()} == FILES


def test_memory_report(cli: Cli, compiled: Path) -> None:
    report = json.loads((compiled / "memory.json").read_text())
    evaluated = cli("evaluate", compiled.parent / "block.onnx", "--plan", compiled / "plan.json", "--json").json
    assert report["totals"] == evaluated["totals"]
    assert report["accelerator"]["buffer_bytes"] == 4096
    assert [group["function"] for group in report["groups"]] == ["fused_group_0", "fused_group_1"]
    assert [group["dram_bytes"] for group in report["groups"]] == [g["dram_bytes"] for g in evaluated["groups"]]
    for group in report["groups"]:
        parts = [part["bytes"] for part in (*group["tensors"], *group["weights"])]
        assert sum(parts) == group["buffer_bytes"]
    assert report["groups"][0]["tensors"][0] | {"name": ""} == {
        "tensor": -1, "name": "", "lines": 3, "height": 16, "bytes": 3 * 4 * 16,
    }  # fmt: skip


def test_memory_report_says_what_the_group_functions_carry(compiled: Path) -> None:
    from tvm_fusion.frontends import load_network
    from tvm_fusion.graph.plan_io import load_plan
    from tvm_fusion.passes import FuseByPlan, extract
    from tvm_fusion.passes.attributes import BUFFER_BYTES, DRAM_BYTES, SCHEME, group_functions

    module = load_network(str(compiled.parent / "block.onnx")).module
    plan = load_plan(compiled / "plan.json", extract(module, "block").graph)
    report = json.loads((compiled / "memory.json").read_text())
    functions = group_functions(FuseByPlan(plan)(module))
    assert list(functions) == [group["function"] for group in report["groups"]]
    for group in report["groups"]:
        found = functions[group["function"]]
        assert str(found[SCHEME]) == group["scheme"]
        assert int(found[BUFFER_BYTES]) == group["buffer_bytes"]
        assert int(found[DRAM_BYTES]) == group["dram_bytes"]["total"]


def test_snippet_runs(compiled: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(compiled / "run.py")], check=True, capture_output=True, text=True, cwd="/"
    )
    assert done.stdout == "(1, 4, 16, 16) float32\n"


def test_plan_compiles_again_into_the_same_folder(cli: Cli, folder: Path) -> None:
    before = (folder / "memory.json").read_bytes()
    outcome = cli("compile", folder.parent / "block.onnx", "-o", folder)
    assert outcome.code == 2  # no such network; the folder stays as it was
    net = convnet(folder.parent / "block.onnx")
    outcome = cli("compile", net, "--plan", folder / "plan.json", "-o", folder)
    assert outcome.code == 0, outcome.err
    assert "run.py" in outcome.out
    assert (folder / "memory.json").read_bytes() == before
    assert {path.name for path in folder.iterdir()} == FILES


def groups_of(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "memory.json").read_text())["groups"])


def test_report_has_the_bytes_of_the_plan_and_of_the_code(compiled: Path) -> None:
    """A plan in 8 bits, a network in float32: four times as many, by address and from and to DRAM."""
    for group in groups_of(compiled):
        lowered = group["lowered"]
        assert lowered["buffer_bytes"] == lowered["end_bytes"] == 4 * group["buffer_bytes"]
        assert lowered["dram_bytes"] == 4 * group["dram_bytes"]["total"]
        assert sum(entry["bytes"] for entry in lowered["memory_map"]) == lowered["buffer_bytes"]
        assert group["not_lowered"] is None
    text = (compiled / "memory.md").read_text()
    assert f"{groups_of(compiled)[0]['lowered']['end_bytes']:,}" in text


def test_addresses_that_exceed_the_buffer(cli: Cli, network: Path, tmp_path: Path) -> None:
    """Refused where the plan counts in the network's own widths; a plan in 8 bits says nothing of float32."""
    plan = write_plan(tmp_path / "p.json", [0, 1], [2, 3, 4])
    command = ("compile", network, "--plan", plan, "-o", tmp_path / "out", "--buffer", 1855)
    own = ("--activation-bits", "dtype", "--weight-bits", "dtype")
    cli(*command, *own).refused("fused_group_1", "end at byte 1856 (alignment 1)", "the buffer has 1855")
    assert not (tmp_path / "out").exists()
    outcome = cli(*command)
    assert outcome.code == 0, outcome.err
    assert "0.5 KiB as planned, at 8/8 bits; the buffer has 1.8 KiB" in outcome.out
    assert "1.8 KiB by address" in outcome.out
    assert max(group["lowered"]["end_bytes"] for group in groups_of(tmp_path / "out")) == 1856
    fits = ("--buffer", 1856, *own)
    assert cli(*command, *fits).code == 0
    cli(*command, *fits, "--alignment", 1000).refused("(alignment 1000)", "the buffer has 1856")


def test_alignment_scope_and_map(cli: Cli, network: Path, tmp_path: Path) -> None:
    picture = tmp_path / "map.png"
    options = ("--alignment", 256, "--scope", "global.scratchpad", "--png", picture)
    outcome = cli("compile", network, "-o", tmp_path / "out", *options)
    assert outcome.code == 0, outcome.err
    addresses = [entry["address"] for group in groups_of(tmp_path / "out") for entry in group["lowered"]["memory_map"]]
    assert len(addresses) > 1
    assert all(address % 256 == 0 for address in addresses)
    assert json.loads((tmp_path / "out" / "network.json").read_text())["lowering"] == {
        "scope": "global.scratchpad", "alignment": 256, "threads": 1,
    }  # fmt: skip
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in outcome.out


def test_threads(cli: Cli, network: Path, image: Path, tmp_path: Path) -> None:
    """Results are those of one thread, and the report says which groups are shared."""
    for threads in (1, 2):
        with shared_always():
            outcome = cli("compile", network, "-o", tmp_path / str(threads), "--threads", threads)
        assert outcome.code == 0, outcome.err
        assert ("1 groups shared by up to 2 threads" in outcome.out) == (threads == 2)
        (group,) = groups_of(tmp_path / str(threads))
        assert group["lowered"]["threads"] == threads
        assert cli("run", tmp_path / str(threads), "--input", image, "-o", tmp_path / f"{threads}.npy").code == 0
    one, two = (np.load(tmp_path / f"{threads}.npy") for threads in (1, 2))
    np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-5)
    metadata = json.loads((tmp_path / "2" / "network.json").read_text())
    assert metadata["lowering"]["threads"] == 2
    assert "shared by up to 2 threads" in (tmp_path / "2" / "memory.md").read_text()


def test_groups_in_bands(cli: Cli, network: Path, compiled: Path, image: Path, tmp_path: Path) -> None:
    """A plan with one group in bands and one in line buffers: report, map and results."""
    groups = [
        {"operators": [0, 1, 2], "scheme": "brr", "parameters": {"bands": 4, "kept": [2]}},
        {"operators": [3, 4], "scheme": "lbdf"},
    ]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"groups": groups}))
    out = tmp_path / "out"
    command = ["compile", network, "--plan", plan, "-o", out, "--png", tmp_path / "map.png", "--buffer", "8KiB"]
    outcome = cli(*command, "--activation-bits", "dtype", "--weight-bits", "dtype")
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 groups: 1 in bands, 1 in line buffers" in outcome.out
    bands, _ = groups_of(out)
    assert bands["parameters"] == groups[0]["parameters"]
    assert json.loads((out / "plan.json").read_text())["groups"][0]["parameters"] == groups[0]["parameters"]
    assert bands["lowered"]["buffer_bytes"] == bands["lowered"]["end_bytes"] == bands["buffer_bytes"]
    assert bands["lowered"]["dram_bytes"] == bands["dram_bytes"]["total"]
    spans = {m["name"]: (m["address"], m["address"] + m["bytes"]) for m in bands["lowered"]["memory_map"]}
    assert sum(end - first for first, end in spans.values()) > bands["buffer_bytes"]  # some share addresses
    for folder, name in ((out, "a.npy"), (compiled, "b.npy")):
        assert cli("run", folder, "--input", image, "-o", tmp_path / name).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), rtol=1e-4, atol=1e-5)
    refused = cli(*command[:-1], bands["buffer_bytes"] - 1, "--activation-bits", "dtype", "--weight-bits", "dtype")
    refused.refused("fused_group_0", f"end at byte {bands['buffer_bytes']}")


def test_groups_that_stream_channels(cli: Cli, network: Path, compiled: Path, image: Path, tmp_path: Path) -> None:
    """A plan with one such group and one in line buffers: report, map and results."""
    groups = [
        {
            "operators": [0, 1, 2],
            "scheme": "channel-streaming",
            "parameters": {"phases": [[0, 1, 2]], "resident": [-1, 2]},
        },
        {"operators": [3, 4], "scheme": "lbdf"},
    ]
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({"groups": groups}))
    out = tmp_path / "out"
    command = ["compile", network, "--plan", plan, "-o", out, "--buffer", "64KiB"]
    outcome = cli(*command, "--activation-bits", "dtype", "--weight-bits", "dtype")
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 groups: 1 channel by channel, 1 in line buffers" in outcome.out
    streams, _ = groups_of(out)
    assert streams["parameters"] == groups[0]["parameters"]
    assert streams["lowered"]["buffer_bytes"] == streams["lowered"]["end_bytes"] == streams["buffer_bytes"]
    assert streams["lowered"]["dram_bytes"] == streams["dram_bytes"]["total"]
    for folder, name in ((out, "a.npy"), (compiled, "b.npy")):
        assert cli("run", folder, "--input", image, "-o", tmp_path / name).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), rtol=1e-4, atol=1e-5)


def test_threads_that_are_none(cli: Cli, network: Path, tmp_path: Path) -> None:
    cli("compile", network, "-o", tmp_path / "out", "--threads", 0).refused("--threads 0", "at least 1")
    refused = cli("compile", network, "-o", tmp_path / "out", "--threads", 2, "--target", "c")
    refused.refused("--threads 2 is for libraries", "--target c are for 1 thread")
    assert not (tmp_path / "out").exists()


def test_without_lowering(cli: Cli, compiled: Path, image: Path, tmp_path: Path) -> None:
    net, plan = compiled.parent / "block.onnx", compiled / "plan.json"
    outcome = cli("compile", net, "--plan", plan, "-o", tmp_path / "out", "--no-lower")
    assert outcome.code == 0, outcome.err
    assert outcome.err == ""
    assert "2 by TVM's own lowering" in outcome.out
    assert [group["lowered"] for group in groups_of(tmp_path / "out")] == [None, None]
    for folder, name in ((tmp_path / "out", "a.npy"), (compiled, "b.npy")):
        assert cli("run", folder, "--input", image, "-o", tmp_path / name).code == 0
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"), rtol=1e-4, atol=1e-5)
    cli("compile", net, "-o", tmp_path / "b", "--no-lower", "--png", tmp_path / "x.png").refused("--no-lower")


def test_group_that_is_not_lowered_is_one_line_on_stderr(cli: Cli, tmp_path: Path) -> None:
    nodes = [helper.make_node("TopK", ["x", "k"], ["y", "indices"])]
    net = save(tmp_path / "top.onnx", nodes, {"k": np.asarray([3])}, [1, 4, 8, 8], [1, 4, 8, 3])
    outcome = cli("compile", net, "-o", tmp_path / "out")
    assert outcome.code == 0, outcome.err
    (line,) = outcome.err.splitlines()
    assert line.startswith("tvm-fusion: fused_group_0 is left to TVM's own lowering: operator")
    (group,) = groups_of(tmp_path / "out")
    assert line.endswith(group["not_lowered"])
    assert "topk" in group["not_lowered"]


def test_layer_by_layer_is_no_remark(cli: Cli, tmp_path: Path) -> None:
    outcome = cli("compile", heavy(tmp_path / "heavy.onnx"), "--scheme", "lbdf", "-o", tmp_path / "out")
    assert (outcome.code, outcome.err) == (0, "")
    assert "1 layer by layer" in outcome.out


def test_saved_plan_keeps_its_proof_while_the_accelerator_is_the_same(cli: Cli, network: Path, tmp_path: Path) -> None:
    plan = tmp_path / "plan.json"
    assert cli("plan", network, "--algorithm", "exact", "--buffer", "4KiB", "-o", plan).code == 0
    proof = json.loads(plan.read_text())
    for buffer, kept in (((), True), (("--buffer", "8KiB"), False)):
        assert cli("compile", network, "--plan", plan, "-o", tmp_path / "out", *buffer).code == 0
        saved = json.loads((tmp_path / "out" / "plan.json").read_text())
        assert saved["groups"] == proof["groups"]
        assert (saved.get("certificate") == proof["certificate"]) is kept
        assert ("optimal" in saved) is kept
        totals = cli("evaluate", network, "--plan", tmp_path / "out" / "plan.json", "--json").json["totals"]
        assert totals == saved["totals"]


def test_output_that_cannot_be_written(cli: Cli, network: Path, tmp_path: Path) -> None:
    cli("compile", network, "-o", tmp_path / "a.dll").refused("must end in .so")
    (tmp_path / "file").write_text("")
    cli("compile", network, "-o", tmp_path / "file").refused("is a file")
    cli("compile", network, "-o", tmp_path / "none" / "out").refused("does not exist")
    cli("compile", network, "-o", tmp_path).refused("holds other files", "new or empty folder")
    assert {path.name for path in tmp_path.iterdir()} == {"block.onnx", "file"}


@pytest.mark.parametrize(("options", "words"), [
    (("--target", "magic"), ("'magic'",)),
    (("--scope", "foo"), ("scope 'foo'", "global.sram")),
    (("--alignment", "0"), ("--alignment 0", "at least 1")),
    (("--png", "none/map.png"), ("does not exist",)),
    (("--target", '{"kind": "llvm", "mtriple": "riscv64-linux-gnu"}'), ("cannot link", "compiler for the target")),
])  # fmt: skip
def test_options_that_are_none(
    cli: Cli, network: Path, tmp_path: Path, options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    cli("compile", network, "-o", tmp_path / "out", *options).refused(*words)
    assert not (tmp_path / "out").exists()
