"""Run compiled modules on random inputs and compare a plan's results with the unfused network's."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm
from tvm import relax

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import CompileError
from tvm_fusion.graph.plan import PartitionPlan

Array = npt.NDArray[Any]


def random_inputs(module: tvm.IRModule, seed: int = 0) -> list[Array]:
    """An array for every parameter of ``main``: normal numbers, or small whole ones for whole dtypes."""
    generator = np.random.default_rng(seed)
    arrays = []
    for parameter in module["main"].params:
        kind = parameter.ty
        shape = tuple(int(size) for size in kind.shape)
        dtype = np.dtype(str(kind.dtype))
        if dtype.kind in "iub":
            arrays.append(generator.integers(0, 2, shape).astype(dtype))
        else:
            arrays.append(generator.standard_normal(shape).astype(dtype))
    return arrays


def run_executable(executable: Any, inputs: list[Array]) -> list[Array]:
    """Outputs of ``main`` on the processor."""
    device = tvm.cpu()
    machine = relax.VirtualMachine(executable, device)
    result = machine["main"](*(tvm.runtime.tensor(array, device) for array in inputs))
    return [part.numpy() for part in _flat(result)]


def _flat(result: Any) -> list[Any]:
    if hasattr(result, "numpy"):
        return [result]
    return [tensor for part in result for tensor in _flat(part)]


def largest_relative_error(found: list[Array], expected: list[Array]) -> float:
    """Largest difference of an output over that output's largest magnitude; infinite for NaN or other shapes."""
    if [a.shape for a in found] != [b.shape for b in expected]:
        return float("inf")
    worst = 0.0
    for a, b in zip(found, expected, strict=True):
        if not a.size:
            continue
        wide_a, wide_b = a.astype(np.float64), b.astype(np.float64)
        scale = float(np.abs(wide_b).max()) or 1.0
        error = float(np.abs(wide_a - wide_b).max()) / scale
        worst = max(worst, error if np.isfinite(error) else float("inf"))
    return worst


def compare_with_unfused(
    module: tvm.IRModule,
    plan: PartitionPlan,
    target: str = "llvm",
    seed: int = 0,
    accelerator: Accelerator | None = None,
) -> float:
    """Compile ``module`` with ``plan`` and, as it was imported, without; run both; return the largest relative error.

    Groups that execute as line buffers on ``accelerator`` (by default the plan's own) are lowered so.
    A network that ends in a softmax is compared a second time where that starts. Raises CompileError if the unfused
    network's results are not finite.
    """
    from tvm_fusion.passes.before_softmax import before_softmax

    error = _error(module, plan, target, seed, accelerator)
    shorter = before_softmax(module, plan)
    return error if shorter is None else max(error, _error(*shorter, target, seed, accelerator))


def _error(module: tvm.IRModule, plan: PartitionPlan, target: str, seed: int, accelerator: Accelerator | None) -> float:
    from tvm_fusion.passes import compile_plan

    inputs = random_inputs(module, seed)
    expected = run_executable(tvm.compile(module, target), inputs)
    if not all(np.isfinite(array).all() for array in expected):
        raise CompileError(
            "the unfused network gives infinite or undefined results on random input; nothing to compare"
        )
    return largest_relative_error(run_executable(compile_plan(module, plan, accelerator, target), inputs), expected)
