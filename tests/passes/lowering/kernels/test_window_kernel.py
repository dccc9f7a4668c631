"""Rows of convolutions and matrix products from packed weights are numpy's, whatever the width of the registers.

TVM_FUSION_EXAMPLES says how many random modules the slow tests try (by default 300).
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.passes.lowering.kernels.convolutions import (
    DTYPES,
    Convolution,
    array,
    error_bound,
    module,
    several,
)
from tests.passes.lowering.lowered import PLAIN, WIDTHS, apart, calls, constants, lowered, outputs
from tvm_fusion.passes import extract

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "300"))
SCHEMES = ("lbdf", "layer")


def check(made: list[Convolution], batch: int, dtypes: tuple[str, str], scheme: str, vector_bytes: int) -> None:
    """Lowered, weights packed, results within rounding of torch's."""
    dtype, sums = dtypes
    mod = module(made, batch, dtype, sums)
    graph = extract(mod).graph
    assert len(graph) == len(made)
    rows = lowered(mod, apart(graph, scheme), vector_bytes)
    assert len(calls(rows)) == len(made)
    packed = [weights for call in calls(rows).values() for weights in constants(call) if weights.ndim == 1]
    for convolution in made:
        expected = np.sort(convolution.weight(dtype), axis=None)
        assert expected.size == 1 or any(np.array_equal(np.sort(found), expected) for found in packed)
    x = array((batch, made[0].inputs, *made[0].size), dtype)
    for convolution, found in zip(made, outputs(rows, [x]), strict=True):
        expected, magnitude = convolution.computed(x, dtype)
        assert found.shape == expected.shape
        assert (abs(found - expected) <= error_bound(convolution, magnitude, sums)).all(), convolution


def check_random(options: settings) -> None:
    @given(several(), st.sampled_from((1, 1, 2)), st.sampled_from(DTYPES), st.sampled_from(SCHEMES), WIDTHS)
    @options
    def compared(made: list[Convolution], batch: int, dtypes: tuple[str, str], scheme: str, vector_bytes: int) -> None:
        check(made, batch, dtypes, scheme, vector_bytes)

    compared()


def test_random_convolutions() -> None:
    check_random(settings(max_examples=10, derandomize=True, **PLAIN))


@pytest.mark.slow
def test_many_random_convolutions() -> None:
    check_random(settings(max_examples=EXAMPLES, **PLAIN))
