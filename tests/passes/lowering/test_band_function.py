"""BandFunction: weights pass in as many channels as there is room for, whatever the operator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.lowering.banded import grouped
from tests.passes.modules import Shape, bias, conv, run, stepwise, weight
from tests.passes.quantized import SETTINGS, small
from tvm_fusion.errors import CompileError
from tvm_fusion.frontends import load_network
from tvm_fusion.passes import LowerGroups, group_memory
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_bands import LowerBands
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.lowering.statements import statements
from tvm_fusion.passes.verify_memory import VerifyMemory

Build = Callable[..., Any]
NAME = "fused_group_0"


def relu_of(made: Build) -> Build:
    """The relu holds its operand and its result, so that there is room for weights beside the operator before it."""
    return lambda emit, x: op.nn.relu(emit(made(emit, x)))


def twice(axis: int, made: Build) -> Build:
    """The same with a concatenation of the result with itself."""

    def build(emit: Any, x: Any) -> Any:
        y = emit(made(emit, x))
        return op.concat([y, y], axis)

    return build


def norm(_: Any, x: Any) -> Any:
    return op.nn.layer_norm(x, weight(7), weight(7, seed=1), axes=-1)


def transposed(_: Any, x: Any) -> Any:
    return op.nn.conv2d_transpose(x, weight(2, 7, 5, 5), strides=(2, 2), padding=(2, 2))


def by_transpose(emit: Any, x: Any) -> Any:
    return op.matmul(x, emit(op.permute_dims(weight(13, 6), [1, 0])))


# How it is built, the input, the bands, and channels that pass at a time of all (with vectors of 16 bytes).
CASES: dict[str, tuple[Build, Shape, int, tuple[int, int]]] = {
    "convolution": (relu_of(lambda _, x: conv(x, 10)), (1, 2, 7, 5), 3, (4, 10)),
    "convolution and bias": (relu_of(lambda e, x: op.add(e(conv(x, 11)), bias(11))), (1, 2, 7, 5), 3, (4, 11)),
    "one by one": (relu_of(lambda _, x: conv(x, 13, kernel=1)), (1, 9, 7, 2), 7, (1, 13)),
    "stride over rows": (relu_of(lambda _, x: conv(x, 17, 1, strides=3, padding=0)), (1, 6, 10, 4), 4, (1, 17)),
    "groups": (relu_of(lambda _, x: conv(x, 14, groups=2)), (1, 4, 7, 5), 3, (7, 14)),
    "depthwise of several": (relu_of(lambda _, x: conv(x, 12, groups=3)), (1, 3, 7, 3), 7, (1, 12)),
    "depthwise": (twice(1, relu_of(lambda _, x: conv(x, 6, groups=6))), (1, 6, 6, 3), 3, (1, 6)),
    "transposed": (relu_of(transposed), (1, 2, 4, 5), 3, (3, 7)),
    "scale": (twice(1, lambda _, x: op.multiply(x, weight(1, 6, 1, 1))), (1, 6, 7, 1), 7, (6, 6)),
    "two images": (relu_of(lambda e, x: op.add(e(conv(x, 10)), bias(10))), (2, 2, 7, 4), 3, (4, 10)),
    "matrix": (relu_of(lambda _, x: op.matmul(x, weight(6, 13))), (1, 9, 6), 3, (3, 13)),
    "matrix, transposed": (relu_of(by_transpose), (1, 9, 6), 3, (3, 13)),
    "layer norm": (twice(2, norm), (1, 9, 7), 9, (3, 7)),
    "flattened": (lambda e, x: op.matmul(e(op.reshape(x, (1, 210))), weight(210, 9)), (1, 6, 7, 5), 2, (1, 9)),
}  # fmt: skip


def lowered(mod: tvm.IRModule, bands: int, vector_bytes: int = 16) -> tvm.IRModule:
    """Lowered without a warning, all weights streamed, and verified."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        rows = LowerBands(vector_bytes=vector_bytes)(grouped(mod, bands))
    found = VerifyMemory()(rows)
    relax.analysis.well_formed(found)
    return found


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("name", CASES)
def test_results(name: str, vector_bytes: int) -> None:
    build, shape, bands, _ = CASES[name]
    mod = stepwise(build, shape)
    inputs = random_inputs(mod)
    expected = run(mod, inputs)
    found = lowered(mod, bands, vector_bytes)
    assert largest_relative_error(run(LowerGroups()(found), inputs), expected) < 1e-5


def weight_elements(mod: tvm.IRModule) -> list[tuple[int, int]]:
    """Of every weight the elements on chip, and all of them."""
    function = mod[NAME]
    allocated = [s.buffer for s in statements(function.body) if isinstance(s, tvm.tirx.AllocBuffer)]
    there = [buffer for buffer in allocated if buffer.name.startswith("weight_")]
    every = [param for param in function.params if param.name.startswith("p") and param.name not in ("p0", "program")]
    sizes = [[math.prod(int(n) for n in buffer.shape) for buffer in buffers] for buffers in (there, every)]
    return list(zip(*sizes, strict=True))


@pytest.mark.parametrize("name", CASES)
def test_channels_that_pass_at_a_time(name: str) -> None:
    """In the first case the relu holds twice 10 channels of 3 rows of 5 numbers, 1200 bytes. The convolution needs its
    result and at most 4 rows of 2 channels of the input, 760 bytes: weights of 6 channels find room, 72 bytes each, and
    vectors are made of 4."""
    build, shape, bands, (part, channels) = CASES[name]
    found = weight_elements(lowered(stepwise(build, shape), bands))
    assert found
    assert all(there * channels == every * part for there, every in found)


def test_memory_of_a_convolution() -> None:
    build, shape, bands, _ = CASES["convolution"]
    memory = group_memory(lowered(stepwise(build, shape), bands))[NAME]
    # 7 rows of the input, 2 at the first border and 2 at the second read again; 10 channels of 7 rows; weights thrice.
    assert memory.dram_bytes == 4 * (11 * 2 * 5 + 10 * 7 * 5 + 3 * 10 * 18)
    assert memory.buffer_bytes == memory.end_bytes == 1200


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize("bands", [1, 3])
def test_quantized_convolutions(name: str, bands: int, tmp_path: Path) -> None:
    """Two convolutions of 8-bit numbers; results equal, as sums of integers are."""
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "b": rng.standard_normal(6).astype(np.float32),
        "v": rng.standard_normal((5, 6, 1, 1)).astype(np.float32),
    }
    nodes = [
        ("Conv", "x w b", "h", {"pads": [1, 1, 1, 1]}),
        ("Relu", "h", "r", {}),
        ("Conv", "r v", "y", {}),
    ]
    mod = load_network(small(tmp_path, nodes, weights, (1, 3, 7, 6), **SETTINGS[name])).module
    inputs = random_inputs(mod)
    found = lowered(mod, bands)
    assert "int8" in found[NAME].script()
    assert largest_relative_error(run(LowerGroups()(found), inputs), run(mod, inputs)) == 0


@pytest.mark.parametrize("scope", ["sram", "local", "global.accumulator"])
def test_refuses_another_scope(scope: str) -> None:
    with pytest.raises(CompileError, match=f"scope '{scope}' is not allowed"):
        LowerBands(scope=scope)
