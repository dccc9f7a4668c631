"""run: what comes out of a compiled network, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import helper

from tests.cli.conftest import Cli
from tests.cli.onnx_models import save
from tvm_fusion.passes.target_machine import this_machine


def change(folder: Path, **facts: Any) -> None:
    path = folder / "network.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | facts))


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
    for text in (b"", b"hello", b"\x93NUMPY\x01\x00\x05\x00{", b"\x93NUMPY\x01\x00\x02\x00{\n"):
        (tmp_path / "bad.npy").write_bytes(text)
        cli("run", compiled, "--input", tmp_path / "bad.npy", "-o", y).refused("bad.npy", ".npy")
    np.savez(tmp_path / "many.npz", a=np.zeros(1))
    cli("run", compiled, "--input", tmp_path / "many.npz", "-o", y).refused("many.npz", "several arrays")


def test_folder_that_is_none(cli: Cli, image: Path, tmp_path: Path) -> None:
    rest = ("--input", image, "-o", tmp_path / "y.npy")
    cli("run", tmp_path / "none", *rest).refused("none", "does not exist")
    cli("run", image, *rest).refused("x.npy", "neither a folder nor a library")
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
        (
            lambda folder: change(folder, machine=this_machine() | {"instructions": ["amx-tile9", "sse2"]}),
            ("compiled for a processor with amx-tile9", "compile it again"),
        ),
        (
            lambda folder: change(folder, inputs=[{"name": "x", "shape": [4], "dtype": "bfloat16"}]),
            ("'bfloat16'", "cannot hold it"),
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
    cli("run", compiled, "--input", image, "-o", tmp_path).refused("is a folder")
    twice = ("-o", tmp_path / "y.npy", "-o", tmp_path / "y.npy")
    cli("run", compiled, "--input", image, *twice).refused("y.npy", "given twice")


def test_library_of_another_processor_in_place_of_ours(cli: Cli, folder: Path, image: Path) -> None:
    """An ELF file for AArch64 (its header says 183), as a folder copied together from two machines may hold."""
    path = folder / "network.so"
    code = bytearray(path.read_bytes())
    code[18:20] = (183).to_bytes(2, "little")
    path.write_bytes(code)
    cli("run", folder, "--input", image, "-o", folder / "y.npy").refused("network.so", "SHA-256")


def test_library_with_its_metadata_runs_without_a_folder(cli: Cli, compiled: Path, image: Path, tmp_path: Path) -> None:
    net, plan, library = compiled.parent / "block.onnx", compiled / "plan.json", tmp_path / "net.so"
    assert cli("compile", net, "--plan", plan, "-o", library).code == 0
    for place, name in ((library, "a.npy"), (compiled, "b.npy")):
        outcome = cli("run", place, "--input", image, "-o", tmp_path / name)
        assert outcome.code == 0, outcome.err
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    (tmp_path / "net.json").unlink()
    cli("run", library, "--input", image, "-o", tmp_path / "y.npy").refused("net.json")
