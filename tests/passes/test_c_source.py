"""c_source: groups as C99 give the results of the network, and their memory lies where the user says."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import tirx
from tvm.relax import op

from benchmarks.quantized import image, results, step
from tests.golden import lower_line_buffer as golden
from tests.passes.c_running import compiled, run_in_c
from tests.passes.lowering.lowered import ROOMY, shared_always
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, run, stepwise
from tests.passes.networks import NETWORKS, X, named, plan_of, whole
from tests.passes.quantized import SETTINGS, small
from tests.passes.test_fold_quantization import BLOCK, BLOCK_WEIGHTS
from tvm_fusion.errors import CompileError, MemoryMismatchError
from tvm_fusion.frontends import load_network
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.attributes import IR_BUFFER_BYTES, group_functions
from tvm_fusion.passes.c_source import c_source
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer

NAME = "fused_group_0"


def lowered(mod: tvm.IRModule, *groups: tuple[int, ...]) -> tvm.IRModule:
    """``mod`` with these groups, or as one group."""
    graph = extract(mod).graph
    return LowerLineBuffer()(FuseByPlan(plan_of(graph, *groups) if groups else whole(graph), ROOMY)(mod))


def depthwise(emit: Any, x: Any) -> Any:
    wide = emit(op.nn.relu6(emit(conv(x, 8, kernel=1))))
    return conv(emit(op.nn.relu6(emit(conv(wide, 8, groups=8, strides=2, dilation=2)))), 3, kernel=1)


def activations(emit: Any, x: Any) -> Any:
    """Functions of the C library, and those that it lacks."""
    at = emit(conv(x, 3))
    made = [
        emit(op.tanh(at)),
        emit(op.erf(at)),
        emit(op.sqrt(emit(op.abs(at)))),
        emit(op.sigmoid(at)),
        emit(op.round(at)),
    ]
    made += [emit(op.floor(at)), emit(op.nn.gelu(at)), emit(op.rsqrt(emit(op.exp(at)))), emit(op.sin(at))]
    return op.concat(made, 1)


NETS: dict[str, Callable[[], tvm.IRModule]] = {
    **{name: lambda name=name: named(name) for name in NETWORKS if name != "tuple of an operator"},
    "conv relu conv": lambda: stepwise(lambda emit, x: conv(emit(op.nn.relu(emit(conv(x, 5)))), 3), X),
    "depthwise": lambda: stepwise(depthwise, X),
    "activations": lambda: stepwise(activations, X),
    "two images": lambda: stepwise(lambda emit, x: op.nn.avg_pool2d(emit(conv(x, 2)), 3, 2, padding=1), (2, 4, 7, 6)),
}


@pytest.mark.parametrize("weights_as", ["arguments", "arrays"])
@pytest.mark.parametrize("name", NETS)
def test_results_are_those_of_the_network(name: str, weights_as: str, tmp_path: Path) -> None:
    mod = NETS[name]()
    inputs = random_inputs(mod)
    found = run_in_c(lowered(mod), inputs, tmp_path, weights_as)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-5


@pytest.mark.filterwarnings("ignore::tvm_fusion.passes.lowering.not_lowered.LoweringWarning")
def test_known_cases(tmp_path: Path) -> None:
    """All that the lowering takes; a dtype that C lacks is refused."""
    done = 0
    for build, shapes, dtype in BY_HAND.values():
        mod = stepwise(build, *shapes, dtype=dtype)
        low = lowered(mod)
        if not isinstance(low[NAME], tirx.PrimFunc):
            continue
        if "float16" in low[NAME].script():
            with pytest.raises(CompileError, match="cannot express elements of dtype 'float16'; it can: bool, int8"):
                c_source(low, NAME)
            continue
        inputs = random_inputs(mod)
        assert largest_relative_error(run_in_c(low, inputs, tmp_path), run(mod, inputs)) < 1e-5
        done += 1
    assert done >= 9


def test_groups_one_after_another(tmp_path: Path) -> None:
    mod = named("residual")
    inputs = random_inputs(mod)
    low = lowered(mod, (0, 1), (2, 3))
    assert len(group_functions(low)) == 3
    assert largest_relative_error(run_in_c(low, inputs, tmp_path), run(mod, inputs)) < 1e-5


def test_what_threads_would_share_is_done_in_turn(tmp_path: Path) -> None:
    mod = named("squeeze and excite")
    with shared_always():
        low = LowerLineBuffer(threads=2)(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))
    assert "T.parallel" in low[NAME].script()
    inputs = random_inputs(mod)
    assert largest_relative_error(run_in_c(low, inputs, tmp_path), run(mod, inputs)) < 1e-5


@pytest.mark.parametrize("setting", SETTINGS)
def test_int8(setting: str, tmp_path: Path) -> None:
    path = small(tmp_path, BLOCK, BLOCK_WEIGHTS, X, **SETTINGS[setting])
    mod = load_network(path).module
    x = image(X, 9)
    low = lowered(mod)
    assert "int8_t" in c_source(low, NAME).text
    found = run_in_c(low, [x], tmp_path)[0]
    assert np.abs(found - results(path, [x])[0]).max() <= 1.001 * step(extract(mod))


def test_lines_of_a_small_group() -> None:
    source = c_source(lowered(golden.before()), NAME)
    assert source.prototype == (
        f"void {NAME}(const float *restrict p0, const float *restrict p1, const float *restrict p2, "
        "float *restrict result_0)"
    )
    for line in (
        " * On chip: 320 bytes of line buffers and weights (TVM_FUSION_SRAM),",
        " * From and to DRAM: 416 bytes.",
        " *   p0: input, 1 x 2 x 4 x 4, float32",
        " *   0x0000a0      144 weight_0_1",
        "static const uint8_t program[40] = {",
        "static TVM_FUSION_SRAM float input_0_rows[24];",
        "  for (int32_t event = 0; event < 20; ++event) {",
    ):
        assert line in source.text.splitlines()


@pytest.mark.skipif(shutil.which("objdump") is None, reason="objdump reads the object file")
@pytest.mark.parametrize("name", NETS)
def test_memory_on_chip_lies_in_the_section_that_the_user_names(name: str, tmp_path: Path) -> None:
    low = lowered(NETS[name]())
    library = compiled(c_source(low, NAME).text, tmp_path, '-DTVM_FUSION_SRAM=__attribute__((section(".sram")))')
    symbols = subprocess.run(["objdump", "-t", str(library)], check=True, capture_output=True, text=True).stdout
    sizes = [int(size, 16) for size in re.findall(r" O \.sram\s+([0-9a-f]+)", symbols)]
    assert sum(sizes) == int(group_functions(low)[NAME][IR_BUFFER_BYTES])


def test_strict_flags_find_faults(tmp_path: Path) -> None:
    """What the compilation of every other test rests on."""
    with pytest.raises(AssertionError, match="unused"):
        compiled("static int f(void) { return 0; }\n", tmp_path)


def test_wrong_input() -> None:
    low = lowered(golden.before())
    with pytest.raises(CompileError, match=f"function 'f' is no group that .* the module has: {NAME}$"):
        c_source(low, "f")
    with pytest.raises(CompileError, match="weights 'flash' is not allowed; allowed: arguments, arrays"):
        c_source(low, NAME, weights="flash")
    with pytest.raises(MemoryMismatchError, match="holds on chip 0 bytes"):
        c_source(low, NAME, scope="global.other")
