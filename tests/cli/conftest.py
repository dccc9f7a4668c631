"""Fixtures of the command-line tests: a saved graph, a small network, and a way to run a command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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


def write_plan(path: Path, *groups: list[int], **extra: Any) -> Path:
    path.write_text(json.dumps({**extra, "groups": [{"operators": group} for group in groups]}))
    return path
