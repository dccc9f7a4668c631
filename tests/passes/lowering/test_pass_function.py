"""PassFunction: what a group in passes has on chip when, in which program; quantised networks."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.lowering.in_passes import grouped, module
from tests.passes.lowering.lowered import ROOMY, calls
from tests.passes.modules import conv, run, stepwise
from tests.passes.quantized import SETTINGS, small
from tvm_fusion.errors import CompileError
from tvm_fusion.frontends import load_network
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, LowerPasses, VerifyMemory, group_memory
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lowering.statements import statements
from tvm_fusion.passes.relax_tools import constant_array

NAME = "fused_group_0"


def lowered(mod: tvm.IRModule, vector_bytes: int = 16, weights: str = "shared") -> tvm.IRModule:
    """Lowered and verified."""
    return VerifyMemory()(LowerPasses(vector_bytes=vector_bytes)(grouped(mod, weights=weights)))


def buffers(mod: tvm.IRModule) -> dict[str, Any]:
    """Allocations by name."""
    every = statements(mod[NAME].body)
    return {str(s.buffer.name): s.buffer for s in every if isinstance(s, tvm.tirx.AllocBuffer)}


@pytest.mark.parametrize("vector_bytes", [16, 32, 64])
def test_vectors_of_any_width(vector_bytes: int) -> None:
    mod = module("two blocks, two images")
    inputs = random_inputs(mod)
    found = run(LowerGroups()(lowered(mod, vector_bytes)), inputs)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-5


def test_scales_have_one_place_and_rings_one_for_each_pass() -> None:
    found = buffers(lowered(module("two blocks")))
    rings = [name for name in found if name.startswith("conv2d_0_rows")]
    assert sorted(rings) == [f"conv2d_0_rows_pass_{k}" for k in (1, 2, 3)]
    assert [name for name in found if name.startswith("global_avg_pool2d_1")] == ["global_avg_pool2d_1_rows"]
    assert [int(found[f"input_0_rows_pass_{k}"].shape[0]) for k in (1, 2, 3)] == [3, 3, 3]


def test_sums_of_passes_are_in_one_place() -> None:
    """Only the chain of the second block is split off: both passes add up the mean of the first one."""
    mod = module("two blocks")
    chosen = {"split": [4], "kept": [], "weights": "shared"}
    plan = PartitionPlan((Group(tuple(range(6)), "two-pass", chosen),))
    found = VerifyMemory()(LowerPasses()(FuseByPlan(plan, ROOMY)(mod)))
    sums = [buffer for buffer in buffers(found).values() if buffer.scope() == "global.accumulator"]
    assert [math.prod(int(size) for size in buffer.shape) for buffer in sums] == [4, 4]
    (memory,) = group_memory(found).values()
    assert memory.accumulator_bytes == 4 * (4 + 4)
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(found), inputs), run(mod, inputs)) < 1e-5


PLACES = {
    # Of three passes the first and the last use convolution 0: with one image its weights come twice.
    ("weights by turns", "shared"): ["weight_0_1_pass_1", "weight_0_1_pass_3", "weight_2_1_pass_2"],
    ("weights by turns, three images", "shared"): ["weight_0_1_pass_3", "weight_2_1_pass_2"],
    ("two blocks", "shared"): ["weight_0_1_pass_1", "weight_3_1_pass_2"],
    # What all passes use stays from image to image.
    ("two blocks, two images", "shared"): ["weight_0_1", "weight_3_1_pass_2"],
    ("two blocks", "reloaded"): [
        *(f"weight_0_1_pass_{k}" for k in (1, 2, 3)),
        *(f"weight_3_1_pass_{k}" for k in (2, 3)),
    ],
}


@pytest.mark.parametrize(("name", "weights"), PLACES)
def test_weights_have_a_place_as_long_as_they_stay(name: str, weights: str) -> None:
    found = [buffer for buffer in buffers(lowered(module(name), weights=weights)) if buffer.startswith("weight")]
    assert sorted(found) == PLACES[name, weights]


def test_program_has_the_events_of_all_passes() -> None:
    """Eight rows of input and 0, then a scale; of product and 3 as well in the second pass, and of 5 in the third.

    Weights come with the first pass and with the second.
    """
    mod = lowered(module("two blocks"))
    program = constant_array(calls(mod)[NAME].args[1].fields[-1])
    assert len(program) == (1 + 8 + 8 + 1) + (1 + 4 * 8 + 1) + (5 * 8)


def test_a_scale_that_is_added_up_in_a_later_pass() -> None:
    """Its row is an event there, though nothing is loaded."""

    def build(emit: Any, x: Any) -> Any:
        at = emit(conv(x, 4))
        columns = emit(op.mean(at, [2], True))
        again = emit(op.multiply(at, columns))
        means = [emit(op.mean(t, [2, 3], True)) for t in (columns, again)]
        return op.multiply(again, emit(op.add(*means)))

    mod = stepwise(build, (2, 4, 8, 8))
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered(mod)), inputs), run(mod, inputs)) < 1e-5


def integers(emit: Any, x: Any) -> Any:
    """A convolution of 8-bit numbers times its own largest sum."""
    sums = emit(op.nn.conv2d(x, relax.const(np.ones((4, 3, 3, 3), "int8")), padding=1, out_dtype="int32"))
    return op.multiply(sums, emit(op.max(sums, [2, 3], True)))


def test_integers_are_equal() -> None:
    mod = stepwise(integers, (2, 3, 6, 5), dtype="int8")
    inputs = random_inputs(mod)
    for found, expected in zip(run(LowerGroups()(lowered(mod)), inputs), run(mod, inputs), strict=True):
        assert found.dtype == np.int32
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("setting", SETTINGS)
def test_quantized_squeeze_and_excite(setting: str, tmp_path: Path) -> None:
    """The mean of 8-bit numbers is rounded to 8 bits again, so that results are within a rounding of it."""
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((6, 6, 1, 1)).astype(np.float32),
    }
    nodes = [
        ("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}),
        ("GlobalAveragePool", "h", "m", {}),
        ("Conv", "m v", "g", {}),
        ("Sigmoid", "g", "s", {}),
        ("Mul", "h s", "y", {}),
    ]
    mod = load_network(small(tmp_path, nodes, weights, (1, 3, 7, 6), **SETTINGS[setting])).module
    inputs = random_inputs(mod)
    found = lowered(mod)
    assert "int8" in found[NAME].script()
    assert largest_relative_error(run(LowerGroups()(found), inputs), run(mod, inputs)) == 0


@pytest.mark.parametrize("scope", ["sram", "local", "global.accumulator"])
def test_refuses_another_scope(scope: str) -> None:
    with pytest.raises(CompileError, match=f"scope '{scope}' is not allowed"):
        LowerPasses(scope=scope)
