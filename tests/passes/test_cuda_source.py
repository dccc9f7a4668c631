"""cuda_source: kernels give the results of the network, and NVIDIA's compilers take them where they are there."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from tvm.relax import op

from benchmarks.quantized import image, results, step
from tests.passes.cuda_running import ARCHITECTURE, assembler, run_in_cuda
from tests.passes.lowering.lowered import ROOMY, shared_always
from tests.passes.lowering.test_block_function import CASES
from tests.passes.modules import conv, run, stepwise
from tests.passes.networks import X, whole
from tests.passes.quantized import SETTINGS, small
from tests.passes.test_c_source import NAME, NETS
from tests.passes.test_fold_quantization import BLOCK, BLOCK_WEIGHTS
from tvm_fusion.errors import CompileError
from tvm_fusion.frontends import load_network
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.cuda_source import LARGEST_SHARED_BYTES, cuda_source
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer

BUILDS = {
    **NETS,
    **{name: lambda build=build, shape=shape: stepwise(build, shape) for name, (build, shape) in CASES.items()},
}


def lowered(mod: tvm.IRModule, threads: int = 1) -> tvm.IRModule:
    """``mod`` as one group of so many threads at most."""
    with shared_always():
        return LowerLineBuffer(threads=threads)(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize("name", BUILDS)
def test_results_are_those_of_the_network(name: str, threads: int, tmp_path: Path) -> None:
    mod = BUILDS[name]()
    inputs = random_inputs(mod)
    found = run_in_cuda(lowered(mod, threads), inputs, tmp_path)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-5


@pytest.mark.parametrize("shared_bytes", [0, 200])
@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("name", ["residual", "squeeze and excite of images", "two results", "sums of rows"])
def test_what_does_not_fit_in_shared_memory(name: str, threads: int, shared_bytes: int, tmp_path: Path) -> None:
    mod = BUILDS[name]()
    inputs = random_inputs(mod)
    found = run_in_cuda(lowered(mod, threads), inputs, tmp_path, shared_bytes=shared_bytes, weights="arrays")
    assert largest_relative_error(found, run(mod, inputs)) < 1e-5


def test_much_shared_memory_is_asked_for(tmp_path: Path) -> None:
    mod = stepwise(lambda emit, x: conv(emit(op.nn.relu(emit(conv(x, 64)))), 3), (1, 16, 6, 64))
    inputs = random_inputs(mod)
    low = lowered(mod, 2)
    for limit, asks in ((48 * 1024, False), (LARGEST_SHARED_BYTES, True)):
        source = cuda_source(low, NAME, shared_bytes=limit)
        assert ("cudaFuncSetAttribute" in source.text) == asks
        found = run_in_cuda(low, inputs, tmp_path, shared_bytes=limit)
        assert largest_relative_error(found, run(mod, inputs)) < 1e-5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("setting", SETTINGS)
def test_int8(setting: str, threads: int, tmp_path: Path) -> None:
    path = small(tmp_path, BLOCK, BLOCK_WEIGHTS, X, **SETTINGS[setting])
    mod = load_network(path).module
    x = image(X, 9)
    low = lowered(mod, threads)
    assert "int8_t" in cuda_source(low, NAME).text
    found = run_in_cuda(low, [x], tmp_path)[0]
    assert np.abs(found - results(path, [x])[0]).max() <= 1.001 * step(extract(mod))


@pytest.mark.parametrize("name", BUILDS)
def test_nvrtc_compiles_every_kernel(name: str) -> None:
    low = lowered(BUILDS[name](), 2)
    for weights in ("arguments", "arrays"):
        source = cuda_source(low, NAME, weights)
        entries = re.findall(r"\.entry (\w+)\(", assembler(source.text))
        assert tuple(sorted(entries)) == tuple(sorted(source.kernels))


def test_nvrtc_knows_the_constants_of_c(tmp_path: Path) -> None:
    """Those that the printer may write, of the headers that NVRTC lacks."""
    used = ("NAN", "INFINITY", "(-INFINITY)", "INT32_MIN", "INT64_MIN", "(float)(isnan(*y) != 0)")
    lines = [f"  y[{k}] = {what};" for k, what in enumerate(used)]
    head = cuda_source(lowered(BUILDS["chain"]()), NAME).text.partition("extern")[0]
    assembler("\n".join([head, "__global__ void f(float *y) {", *lines, "}\n"]))


def test_nvrtc_refuses_faults() -> None:
    """What the test above rests on."""
    with pytest.raises(AssertionError, match="undefined"):
        assembler("__global__ void f() { g(); }\n")


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("name", ["squeeze and excite of images", "transformer"])
def test_nvcc_compiles_launches_too(name: str, tmp_path: Path) -> None:
    path = tmp_path / "group.cu"
    path.write_text(cuda_source(lowered(BUILDS[name](), 2), NAME, shared_bytes=LARGEST_SHARED_BYTES).text)
    command = ["nvcc", f"-arch={ARCHITECTURE}", "-Werror", "all-warnings", "-c", path, "-o", tmp_path / "group.o"]
    done = subprocess.run(list(map(str, command)), check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_kernel_for_every_stage() -> None:
    """Two images: weights once, then the stages of each image."""
    source = cuda_source(lowered(BUILDS["squeeze and excite of images"](), 2), NAME)
    launches = [line for line in source.text.splitlines() if "TVM_FUSION_LAUNCH(fused" in line]
    assert [len(line) - len(line.lstrip()) for line in launches] == [2] + [4] * 5
    assert [re.findall(r"kernel_\d+, (\d+),", line) for line in launches] == [["1"]] + [["2"]] * 5
    assert "  for (int32_t image = 0; image < 2; ++image) {" in source.text.splitlines()
    assert source.prototype.endswith("float *result_0, void *workspace, cudaStream_t stream)")
    assert f"#define FUSED_GROUP_0_WORKSPACE_BYTES {source.workspace_bytes}" in source.text
    assert source.kernels == tuple(f"fused_group_0_kernel_{k}" for k in range(6))


def test_one_thread_is_one_kernel() -> None:
    source = cuda_source(lowered(BUILDS["chain"]()), NAME)
    assert source.kernels == ("fused_group_0_kernel_0",)
    assert source.workspace_bytes == 0  # all of it fits in shared memory


def test_every_block_has_its_own_place_in_the_workspace() -> None:
    low = lowered(BUILDS["chain"](), 2)
    inside, outside = (cuda_source(low, NAME, shared_bytes=size) for size in (48 * 1024, 0))
    (size,) = re.findall(r"kernel_1: 2, (\d+)$", inside.text, re.MULTILINE)
    assert outside.workspace_bytes - inside.workspace_bytes == 2 * int(size)
    assert f"(size_t)blockIdx.x * {size}" in outside.text


def test_wrong_input() -> None:
    low = lowered(BUILDS["chain"]())
    with pytest.raises(CompileError, match=f"function 'f' is no group that .* the module has: {NAME}$"):
        cuda_source(low, "f")
    with pytest.raises(CompileError, match="weights 'flash' is not allowed; allowed: arguments, arrays"):
        cuda_source(low, NAME, weights="flash")
    for size in (-1, LARGEST_SHARED_BYTES + 1):
        with pytest.raises(CompileError, match=f"shared_bytes {size} is not allowed; a block has at most 232448 bytes"):
            cuda_source(low, NAME, shared_bytes=size)


def test_a_dtype_that_it_lacks_is_refused() -> None:
    def build(emit: Any, x: Any) -> Any:
        return op.nn.relu(emit(op.astype(emit(op.astype(emit(conv(x, 4)), "float16")), "float32")))

    with pytest.raises(CompileError, match="cannot express elements of dtype 'float16'; it can: bool, int8"):
        cuda_source(lowered(stepwise(build, X)), NAME)
