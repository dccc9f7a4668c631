"""compile into a folder, and run what is in it: what is written, what comes out, and what is refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.cli.conftest import Cli, write_plan
from tests.cli.onnx_models import convnet, save
from tvm_fusion.cli import compiled_folder
from tvm_fusion.cli.main import run

FILES = {"network.so", "network.json", "plan.json", "memory.json", "run.py"}


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The residual block in two groups, compiled once; tests that change it take a copy."""
    place = tmp_path_factory.mktemp("compiled")
    net = convnet(place / "block.onnx")
    plan = write_plan(place / "plan.json", [0, 1], [2, 3, 4])
    command = ["compile", net, "--plan", plan, "-o", place / "out", "--buffer", "4KiB", "--json"]
    assert run([str(argument) for argument in command]) == 0
    return place / "out"


@pytest.fixture
def folder(compiled: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(compiled, tmp_path / "out"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(1).standard_normal((1, 4, 16, 16)).astype(np.float32))
    return path


def change(folder: Path, **facts: Any) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


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
        assert sum(parts) == group["requirement_bytes"]
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
        assert int(found[BUFFER_BYTES]) == group["requirement_bytes"]
        assert int(found[DRAM_BYTES]) == group["dram_bytes"]["total"]


def test_run_gives_what_the_network_computes(cli: Cli, compiled: Path, image: Path, tmp_path: Path) -> None:
    import onnx.reference

    outcome = cli("run", compiled, "--input", image, "-o", tmp_path / "y.npy")
    assert outcome.code == 0, outcome.err
    assert "float32 (1, 4, 16, 16)" in outcome.out
    reference = onnx.reference.ReferenceEvaluator(str(compiled.parent / "block.onnx"))
    expected = reference.run(None, {"x": np.load(image)})[0]
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected, rtol=1e-4, atol=1e-4)
    told = cli("run", compiled, "--input", image, "-o", tmp_path / "y.npy", "--json").json["outputs"]
    assert [(entry["shape"], entry["dtype"]) for entry in told] == [([1, 4, 16, 16], "float32")]


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


def test_several_inputs_and_outputs(cli: Cli, tmp_path: Path) -> None:
    import onnx

    path = save(tmp_path / "two.onnx", [helper.make_node("Relu", ["x"], ["y"])], {}, [1, 4, 8, 8])
    model = onnx.load(path)
    shape = [1, 4, 8, 8]
    model.graph.input.append(helper.make_tensor_value_info("b", onnx.TensorProto.FLOAT, shape))
    model.graph.node.append(helper.make_node("Sub", ["x", "b"], ["z"]))
    model.graph.output.append(helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, shape))
    onnx.save(model, path)
    assert cli("compile", path, "-o", tmp_path / "out").code == 0
    arrays = [np.random.default_rng(k).standard_normal(shape).astype(np.float32) for k in range(2)]
    for k, array in enumerate(arrays):
        np.save(tmp_path / f"{k}.npy", array)
    inputs = ("--input", tmp_path / "0.npy", "--input", tmp_path / "1.npy")
    outputs = ("-o", tmp_path / "y.npy", "-o", tmp_path / "z.npy")
    outcome = cli("run", tmp_path / "out", *inputs, *outputs)
    assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(np.load(tmp_path / "y.npy"), np.maximum(arrays[0], 0))
    np.testing.assert_array_equal(np.load(tmp_path / "z.npy"), arrays[0] - arrays[1])
    cli("run", tmp_path / "out", *inputs[:2], *outputs).refused("--input is given 1 times", "has 2", "float32")
    cli("run", tmp_path / "out", *inputs, *outputs[:2]).refused("--output is given 1 times", "has 2")


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((1, 4, 16, 15), np.float32), ("(1, 4, 16, 15)", "(1, 4, 16, 16)")),
        (np.zeros((4, 16, 16), np.float32), ("(4, 16, 16)",)),
        (np.zeros((1, 4, 16, 16)), ("float64", "must be float32")),
        (np.zeros((1, 4, 16, 16), object), ("x.npy",)),
    ],
)
def test_wrong_input(cli: Cli, compiled: Path, tmp_path: Path, array: Any, words: tuple[str, ...]) -> None:
    np.save(tmp_path / "x.npy", array)
    cli("run", compiled, "--input", tmp_path / "x.npy", "-o", tmp_path / "y.npy").refused(*words)
    assert not (tmp_path / "y.npy").exists()


def test_layout_and_byte_order_of_a_file_do_not_matter(cli: Cli, compiled: Path, image: Path, tmp_path: Path) -> None:
    array = np.load(image)
    np.save(tmp_path / "f.npy", np.asfortranarray(array))
    np.save(tmp_path / "b.npy", array.astype(">f4"))
    for name in (image.name, "f.npy", "b.npy"):
        assert cli("run", compiled, "--input", tmp_path / name, "-o", tmp_path / f"y.{name}").code == 0
    first = np.load(tmp_path / f"y.{image.name}")
    for name in ("f.npy", "b.npy"):
        np.testing.assert_array_equal(np.load(tmp_path / f"y.{name}"), first)


def test_input_file_that_is_none(cli: Cli, compiled: Path, tmp_path: Path) -> None:
    y = tmp_path / "y.npy"
    cli("run", compiled, "--input", tmp_path / "none.npy", "-o", y).refused("none.npy", "No such file")
    cli("run", compiled, "--input", tmp_path, "-o", y).refused("Is a directory")
    for text in (b"", b"hello", b"\x93NUMPY\x01\x00\x05\x00{"):
        (tmp_path / "bad.npy").write_bytes(text)
        cli("run", compiled, "--input", tmp_path / "bad.npy", "-o", y).refused("bad.npy", ".npy")
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    cli("run", compiled, "--input", tmp_path / "many.npz", "-o", y).refused("many.npz", "several arrays")


def test_folder_that_is_none(cli: Cli, image: Path, tmp_path: Path) -> None:
    rest = ("--input", image, "-o", tmp_path / "y.npy")
    cli("run", tmp_path / "none", *rest).refused("none", "does not exist")
    cli("run", image, *rest).refused("x.npy", "no folder")
    cli("run", tmp_path, *rest).refused("network.json")


def _no_library(folder: Path) -> None:
    (folder / "network.so").unlink()


def _cut(folder: Path) -> None:
    path = folder / "network.so"
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_no_library, ("network.so", "No such file")),
        (_cut, ("network.so", "SHA-256")),
        (lambda folder: (folder / "network.json").write_text("{"), ("network.json", "not JSON")),
        (lambda folder: (folder / "network.json").write_text("[]"), ("network.json", "is not what")),
        (lambda folder: change(folder, inputs=3), ("network.json", "is not what")),
        (
            lambda folder: change(folder, machine={"processor": "z80", "system": "CP/M"}),
            ("z80 CP/M", "compile it again"),
        ),
    ],
)
def test_spoiled_folder(
    cli: Cli, folder: Path, image: Path, spoil: Callable[[Path], object], words: tuple[str, ...]
) -> None:
    spoil(folder)
    cli("run", folder, "--input", image, "-o", folder / "y.npy").refused(*words)
    assert not (folder / "y.npy").exists()


def test_output_that_cannot_be_written(cli: Cli, compiled: Path, image: Path, tmp_path: Path) -> None:
    cli("run", compiled, "--input", image, "-o", tmp_path / "none" / "y.npy").refused("does not exist")
    cli("compile", compiled.parent / "block.onnx", "-o", image).refused("must end in .so")
    (tmp_path / "file").write_text("")
    cli("compile", compiled.parent / "block.onnx", "-o", tmp_path / "file").refused("is a file")
    cli("compile", compiled.parent / "block.onnx", "-o", tmp_path / "none" / "out").refused("does not exist")


def test_machine_of_a_target() -> None:
    here = compiled_folder.machine_of("llvm")
    assert here["processor"]
    assert here == compiled_folder.machine_of('{"kind": "llvm", "mcpu": "haswell"}')
    arm = compiled_folder.machine_of('{"kind": "llvm", "mtriple": "aarch64-linux-gnu"}')
    assert arm == {"processor": "aarch64", "system": "Linux"}
