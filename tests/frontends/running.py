"""Run an imported network with TVM, after normalisation, and compare with numbers from elsewhere."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import tvm

from tvm_fusion.frontends import Network
from tvm_fusion.passes import normalize
from tvm_fusion.passes.execute import largest_relative_error, run_executable
from tvm_fusion.passes.relax_tools import bindings, constant_array, is_constant

Array = npt.NDArray[Any]
TOLERANCE = 1e-4


def outputs_of(network: Network, inputs: list[Array]) -> list[Array]:
    """Results of the normalised network, compiled by TVM as it is."""
    return run_executable(tvm.compile(normalize(network.module), "llvm"), inputs)


def assert_close(found: list[Array], expected: list[Array]) -> None:
    """Within 1e-4 of each output's largest magnitude, none of them all zero."""
    assert all(np.abs(array).max() > 0 for array in expected)
    assert largest_relative_error(found, expected) < TOLERANCE


def weights(network: Network) -> list[Array]:
    """The tensor constants of a network in the order of their use."""
    calls = [binding.value for binding in bindings(network.module["main"]) if hasattr(binding.value, "args")]
    return [constant_array(arg) for call in calls for arg in call.args if is_constant(arg)]


def same_weights(a: Network, b: Network) -> bool:
    left, right = weights(a), weights(b)
    return len(left) == len(right) and all(np.array_equal(x, y) for x, y in zip(left, right, strict=True))


def noise(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
