"""Fixtures of the command-line tests: a saved graph, a small network, and a way to run a command."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.cli.onnx_models import convnet
from tests.graphs import residual_block
from tvm_fusion.cli.main import run
from tvm_fusion.graph import graph_to_json


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out)

    def refused(self, *words: str) -> None:
        """Exit code 2, nothing on stdout, one line on stderr that holds ``words``."""
        assert self.code == 2, (self.out, self.err)
        assert self.out == ""
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("tvm-fusion: error: ")
        for word in words:
            assert word in self.err


Cli = Callable[..., Outcome]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    def call(*arguments: object) -> Outcome:
        capfd.readouterr()
        code = run([str(argument) for argument in arguments])
        out, err = capfd.readouterr()
        return Outcome(code, out, err)

    return call


@pytest.fixture
def saved_graph(tmp_path: Path) -> Path:
    """The five operators of a residual block (conv, relu, conv, add, relu) as JSON."""
    path = tmp_path / "block.json"
    path.write_text(json.dumps(graph_to_json(residual_block())))
    return path


@pytest.fixture
def network(tmp_path: Path) -> Path:
    """The same block as an ONNX file."""
    return convnet(tmp_path / "block.onnx")


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the same block compiled in two groups; network and plan lie beside it. To be read only."""
    place = tmp_path_factory.mktemp("compiled")
    net = convnet(place / "block.onnx")
    plan = write_plan(place / "plan.json", [0, 1], [2, 3, 4])
    command = ["compile", net, "--plan", plan, "-o", place / "out", "--buffer", "4KiB", "--json"]
    assert run([str(argument) for argument in command]) == 0
    return place / "out"


@pytest.fixture
def folder(compiled: Path, tmp_path: Path) -> Path:
    """A copy of it to change."""
    return Path(shutil.copytree(compiled, tmp_path / "out"))


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """An input of the block."""
    path = tmp_path / "x.npy"
    np.save(path, np.random.default_rng(1).standard_normal((1, 4, 16, 16)).astype(np.float32))
    return path


def write_plan(path: Path, *groups: list[int], **extra: Any) -> Path:
    path.write_text(json.dumps({**extra, "groups": [{"operators": group} for group in groups]}))
    return path
