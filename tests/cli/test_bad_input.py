"""Bad input: one line of ours on stderr, exit code 2, nothing half-written."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from tests.cli.conftest import Cli, write_plan
from tests.cli.onnx_models import convnet, unknown_operator


@pytest.mark.parametrize("size", ["0", "-1", "256KiBB", "", "0.5", "lots", "1e99999"])
def test_buffer(cli: Cli, saved_graph: Path, size: str, tmp_path: Path) -> None:
    cli("plan", saved_graph, f"--buffer={size}", "-o", tmp_path / "p.json").refused(repr(size), "256KiB")
    assert not (tmp_path / "p.json").exists()


@pytest.mark.parametrize("option", ["--activation-bits", "--weight-bits"])
@pytest.mark.parametrize("bits", ["0", "65", "-8", "eight"])
def test_bits(cli: Cli, saved_graph: Path, option: str, bits: str) -> None:
    cli("plan", saved_graph, f"{option}={bits}").refused(bits, "64")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--budget", "0"), ("--budget 0", "at least 1")),
        (("--budget", "many"), ("--budget many",)),
        (("--seed", "-1"), ("--seed -1",)),
        (("--batch", "0"), ("--batch 0",)),
        (("--time-limit", "soon"), ("'soon'", "30s")),
        (("--time-limit", "0s"), ("'0s'", "30s")),
        (("--scheme", "magic"), ("'magic'", "lbdf")),
        (("--scheme", "lbdf,magic"), ("'magic'", "auto", "brr", "layer")),
        (("--scheme", ","), ("','", "auto")),
        (("--objective", "magic"), ("'magic'", "dram", "energy", "cycles")),
        (("--algorithm", "magic"), ("'magic'", "exact")),
        (("--accelerator", "magic"), ("'magic'", "edge")),
        (("--no-such-option",), ("--no-such-option",)),
    ],
)
def test_options_of_plan(cli: Cli, saved_graph: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli("plan", saved_graph, *arguments).refused(*words)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('buffer_bytes = "big"', ("'big'",)),
        ("buffer_bytes = true", ("buffer_bytes", "True")),
        ('clock_hz = "fast"', ("clock_hz", "'fast'")),
        ("sram_kib = 3", ("'sram_kib'", "buffer_bytes")),
        ("buffer_bytes = ", ("TOML",)),
    ],
)
def test_accelerator_file(cli: Cli, saved_graph: Path, tmp_path: Path, text: str, words: tuple[str, ...]) -> None:
    path = tmp_path / "npu.toml"
    path.write_text(text)
    cli("plan", saved_graph, "--accelerator", path).refused(*words)


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        ([[0, 1, 2], [3]], ("operator 4", "in no group")),
        ([[0, 1, 2], [2, 3, 4]], ("operator 2",)),
        ([[0, 1, 1, 2], [3, 4]], ("repeats operator 1",)),
        ([[0, 1, 2], [3, 4, 99]], ("99", "0 .. 4")),
        ([[0, 1], [2], [3, 4, -1]], ("-1",)),
        ([[0, 2], [1], [3, 4]], ("operator 2", "not connected")),
        ([[0, 1, 2], [3, 4], []], ("group 2", "empty")),
    ],
)
def test_plan_that_is_none(
    cli: Cli, saved_graph: Path, tmp_path: Path, groups: list[list[int]], words: tuple[str, ...]
) -> None:
    plan = write_plan(tmp_path / "p.json", *groups)
    cli("evaluate", saved_graph, "--plan", plan).refused(*words)


def test_cyclic_group(cli: Cli, tmp_path: Path) -> None:
    from tests.graphs import Builder
    from tvm_fusion.graph import graph_to_json

    b = Builder(height=8)
    first = b.conv(-1)
    b.pointwise(first, b.conv(first), type_="add")
    path = tmp_path / "skip.json"
    path.write_text(json.dumps(graph_to_json(b.graph())))
    plan = write_plan(tmp_path / "p.json", [0, 2], [1])
    cli("evaluate", path, "--plan", plan).refused("cycle")
    cli("explain", path, "--operators", "0,2").refused("cycle")


def test_plan_of_another_network(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2, 3, 4], graph_fingerprint="sha256:0")
    cli("evaluate", saved_graph, "--plan", plan).refused("another network")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"groups": 3}', '{"groups": [{"operators": ["0"]}]}', "\xff"])
def test_plan_file_that_is_none(cli: Cli, saved_graph: Path, tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.json"
    path.write_bytes(text.encode("latin-1"))
    cli("evaluate", saved_graph, "--plan", path).refused()


def test_plan_with_a_wrong_accelerator(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    for wrong in (3, {"buffer_bytes": 0}, {"colour": "red"}):
        plan = write_plan(tmp_path / "p.json", [0, 1, 2, 3, 4], accelerator=wrong)
        cli("evaluate", saved_graph, "--plan", plan).refused("accelerator")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--operators", "--plan")),
        (("--group", "0"), ("--plan",)),
        (("--operators", "0", "--plan", "p.json", "--group", "0"), ("either",)),
        (("--operators", "a"), ("'a'", "3-9")),
        (("--operators", "4-2"), ("'4-2'",)),
        (("--operators", "7"), ("7", "0 .. 4")),
        (("--operators", "0,2"), ("not connected",)),
    ],
)
def test_explain(cli: Cli, saved_graph: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    cli("explain", saved_graph, *arguments).refused(*words)


@pytest.mark.parametrize("number", [2, -1])
def test_explain_unknown_group(cli: Cli, saved_graph: Path, tmp_path: Path, number: int) -> None:
    plan = write_plan(tmp_path / "p.json", [0, 1, 2], [3, 4])
    cli("explain", saved_graph, "--plan", plan, "--group", number).refused(str(number))


def test_output_folder_that_cannot_be_written(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    cli("plan", saved_graph, "-o", tmp_path / "none" / "p.json").refused("does not exist")
    cli("plan", saved_graph, "-o", tmp_path).refused("is a folder")
    cli("compile", "resnet18", "-o", tmp_path / "none" / "a.so").refused("does not exist")
    if os.geteuid() != 0:  # root may write anywhere
        (tmp_path / "locked").mkdir(mode=0o500)
        cli("plan", saved_graph, "-o", tmp_path / "locked" / "p.json").refused("not writable")


def test_compile_options(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    cli("compile", saved_graph, "-o", tmp_path / "a.so").refused("saved graph")
    cli("compile", "resnet18", "-o", tmp_path / "a.dll").refused(".so")


def test_compare_options(cli: Cli, saved_graph: Path) -> None:
    cli("compare", saved_graph, "--algorithms", "exact,magic").refused("'magic'", "local-search")
    cli("compare", saved_graph, "--algorithms", ",").refused("--algorithms")
    cli("compare", saved_graph, "--seeds", "0,x").refused("'0,x'", "0,1,2")


def test_saved_graph_that_is_none(cli: Cli, tmp_path: Path) -> None:
    cli("graph", tmp_path / "none.json").refused("none.json")
    for text in ("{", "[]", "{}", '{"inputs": [], "operators": [{}], "outputs": []}'):
        path = tmp_path / "graph.json"
        path.write_text(text)
        cli("graph", path).refused()


def test_commands_that_are_none(cli: Cli) -> None:
    cli("plam").refused("'plam'", "--help")
    cli("plan").refused("NET", "--help")


class TestNetworks:
    def test_unknown_name_suggests_near_ones(self, cli: Cli) -> None:
        pytest.importorskip("timm")
        cli("graph", "efficientnet_b33").refused("efficientnet_b33", "efficientnet_b3")

    def test_missing_file(self, cli: Cli, tmp_path: Path) -> None:
        cli("graph", tmp_path / "none.onnx").refused("none.onnx")

    def test_truncated_file(self, cli: Cli, tmp_path: Path, network: Path) -> None:
        path = tmp_path / "cut.onnx"
        path.write_bytes(network.read_bytes()[:-200])
        cli("graph", path).refused("cut.onnx")

    def test_empty_file(self, cli: Cli, tmp_path: Path) -> None:
        path = tmp_path / "empty.onnx"
        path.write_bytes(b"")
        cli("graph", path).refused("empty.onnx")

    def test_operator_that_tvm_cannot_import(self, cli: Cli, tmp_path: Path) -> None:
        path = unknown_operator(tmp_path / "odd.onnx")
        cli("plan", path, "-o", tmp_path / "p.json").refused("NoSuchOperator")
        assert not (tmp_path / "p.json").exists()

    def test_dynamic_shape_names_the_tensor(self, cli: Cli, tmp_path: Path) -> None:
        path = convnet(tmp_path / "dynamic.onnx", ["n", 4, "height", 16])
        cli("graph", path).refused("x")

    def test_dynamic_batch_is_set(self, cli: Cli, tmp_path: Path) -> None:
        path = convnet(tmp_path / "dynamic.onnx", ["n", 4, 16, 16])
        assert cli("graph", path, "--batch", 3, "--json").json["inputs"][0]["shape"] == [3, 4, 16, 16]

    def test_fixed_batch(self, cli: Cli, network: Path) -> None:
        cli("graph", network, "--batch", 3).refused("batch 3", "'x'", "fixed batch 1")

    def test_folder(self, cli: Cli, tmp_path: Path) -> None:
        cli("graph", tmp_path).refused("is a folder")

    def test_garbage_instead_of_an_exported_program(self, cli: Cli, tmp_path: Path) -> None:
        pytest.importorskip("torch")
        path = tmp_path / "bad.pt2"
        path.write_bytes(b"hello")
        cli("plan", path, "-o", tmp_path / "p.json").refused("bad.pt2", "torch.export.save")
        assert not (tmp_path / "p.json").exists()

    def test_what_the_importer_prints_is_no_answer(self, cli: Cli, tmp_path: Path) -> None:
        path = convnet(tmp_path / "odd.onnx", [1, 3, 16, 16])
        cli("graph", path, "--json").refused("channel")

    @pytest.mark.parametrize("size", ["abc", "0", ""])
    def test_size(self, cli: Cli, size: str) -> None:
        pytest.importorskip("torch")
        cli("graph", f"resnet18@{size}").refused(f"'resnet18@{size}'", "resnet18@224")

    def test_detection(self, cli: Cli) -> None:
        pytest.importorskip("torchvision")
        cli("graph", "fasterrcnn_resnet50_fpn@64").refused(
            "fasterrcnn_resnet50_fpn", "only networks that classify or segment"
        )


def test_cache_of_another_version(cli: Cli, saved_graph: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    assert cli("plan", saved_graph, "--cache", folder).code == 0
    (path,) = folder.iterdir()
    path.write_text(path.read_text().replace('"version": ', '"version": 10'))
    cli("plan", saved_graph, "--cache", folder).refused(str(path), "version 10", "delete it")
