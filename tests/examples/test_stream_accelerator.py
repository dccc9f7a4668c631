"""The example backend: real networks execute on exactly the planned memory, with the bytes of the cost model."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tvm.relax import op

from examples.stream_accelerator.instructions import Address, ConvRow, LoadRow
from examples.stream_accelerator.machine import Machine, OutsideError
from examples.stream_accelerator.run import StreamRun, run_on_stream
from tests.passes.modules import conv, stepwise, weight
from tests.passes.networks import X, named
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.passes import extract

ROOT = Path(__file__).parent.parent.parent


def accelerator(buffer_bytes: int) -> Accelerator:
    return Accelerator(buffer_bytes=buffer_bytes, activation_bits=None, weight_bits=None)


def check(run: StreamRun, tolerance: float = 1e-4) -> None:
    """Bytes of every group and results of the network."""
    assert run.groups
    assert run.error <= tolerance
    for done in run.groups:
        model, machine = done.simulated(), done.machine
        assert machine.input_bytes == model.input_bytes
        assert machine.weight_bytes == model.weight_bytes
        assert machine.output_bytes == model.output_bytes
        assert machine.memory["buffer"].size == model.buffer_bytes
        cost = LineBufferModel(done.group.graph, accelerator(1)).cost((1 << len(done.group.graph)) - 1)
        assert (cost.buffer_bytes, cost.dram_bytes) == (model.buffer_bytes, model.dram_bytes)


def block(emit: Any, x: Any) -> Any:
    """Strides, dilation, groups, a shortcut, a pool over all rows, and a dense layer."""
    at = emit(op.nn.max_pool2d(emit(op.nn.relu(emit(conv(x, 8, strides=2)))), 3, 2, padding=1))
    wide = emit(op.clip(emit(conv(at, 8, groups=4, padding=2, dilation=2, seed=1)), 0, 6))
    at = emit(op.add(at, wide))
    flat = emit(op.reshape(emit(op.mean(at, [2, 3], True)), (1, 8)))
    return op.add(emit(op.matmul(flat, weight(8, 5))), weight(1, 5))


@pytest.mark.parametrize("buffer_bytes", [10**6, 3500])
def test_a_small_network(buffer_bytes: int) -> None:
    run = run_on_stream(stepwise(block, (1, 4, 17, 15)), accelerator(buffer_bytes))
    check(run, 1e-5)
    assert run.refused == ()
    assert (len(run.groups) == 1) == (buffer_bytes == 10**6)


def test_an_operator_that_it_lacks_stays_with_tvm_and_is_named() -> None:
    mod = stepwise(lambda emit, x: op.nn.avg_pool2d(emit(conv(x, 3)), 8, 1), X)
    run = run_on_stream(mod, accelerator(920))
    check(run, 1e-5)
    assert [reason for reason in run.refused if "the accelerator has no avg_pool2d" in reason] == list(run.refused)
    assert run.refused


def test_a_broadcast_operand_is_refused() -> None:
    run = run_on_stream(named("squeeze and excite"), accelerator(10**6))
    assert not run.groups
    assert "is broadcast" in run.refused[0]
    assert run.error <= 1e-5


def test_an_access_outside_of_the_memory_raises() -> None:
    (done,) = run_on_stream(stepwise(lambda emit, x: conv(x, 3), X), accelerator(10**6)).groups
    inputs, results = [np.zeros(X, np.float32)], [np.zeros((1, 3, 8, 8), np.float32)]
    Machine(done.program).run(inputs, results)
    smaller = replace(done.program, buffer_bytes=done.program.buffer_bytes - 4)
    with pytest.raises(OutsideError, match=rf"of the buffer memory, which has {smaller.buffer_bytes}"):
        Machine(smaller).run(inputs, results)


def test_text_of_instructions() -> None:
    row = LoadRow(Address("buffer", 0x120), 0, 3, 32)
    assert str(row) == "LOAD_ROW     to=b:0x00120 tensor=0 row=3 size_bytes=32"
    at = Address("accumulator", 0)
    text = str(ConvRow(at, (None, at), at, None, (4, 3), (8, 8), 3, 1, 1, 1, 1))
    assert text.startswith("CONV_ROW     to=a:0x00000 sources=-,a:0x00000 weight=a:0x00000 bias=- channels=4,3")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "kibibytes", "share"), [("mobilenetv2_100@64", 512, 0.85), ("resnet18@64", 2048, 0.7)]
)
def test_whole_networks(name: str, kibibytes: int, share: float) -> None:
    from tvm_fusion.frontends import load_network

    network = load_network(name)
    run = run_on_stream(network.module, accelerator(kibibytes * 1024))
    check(run)
    assert run.refused == ()
    assert sum(len(done.group.graph) for done in run.groups) >= share * len(extract(network.module).graph)


@pytest.mark.slow
def test_the_command_of_its_readme(tmp_path: Path) -> None:
    readme = (ROOT / "examples" / "stream_accelerator" / "README.md").read_text("utf-8")
    command = next(
        line for line in readme.splitlines() if line.startswith("python -m examples.stream_accelerator")
    ).split()
    command[0] = sys.executable
    command[command.index("--listing") + 1] = str(tmp_path / "groups.txt")
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "bytes equal the cost model's" in done.stdout
    assert (tmp_path / "groups.txt").read_text().startswith("; stream_fused_group_0")


def test_wrong_input() -> None:
    command = [sys.executable, "-m", "examples.stream_accelerator", "no_such_network", "--buffer", "1MiB"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
