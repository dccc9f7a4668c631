"""Rows of convolutions from packed weights are torch's, whatever the width of the registers.

TVM_FUSION_EXAMPLES says how many random modules the slow tests try (by default 100).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm.relax import op

from tests.passes.lowering.kernels.convolutions import DTYPES, Convolution, array, error_bound, module, several
from tests.passes.lowering.lowered import PLAIN, WIDTHS, apart, calls, constants, lowered, outputs
from tests.passes.modules import conv, run, stepwise
from tests.passes.networks import whole
from tvm_fusion.passes import extract
from tvm_fusion.passes.execute import largest_relative_error, random_inputs

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "100"))
SCHEMES = ("lbdf", "layer")
# Every operator alone in a scheme, or each convolution with a relu after it in one group.
PLANS = (*SCHEMES, "with relu")


def check(made: list[Convolution], batch: int, dtypes: tuple[str, str], kind: str, vector_bytes: int) -> None:
    """Lowered, weights packed, results within rounding of torch's."""
    dtype, sums = dtypes
    rectified = kind == "with relu"
    mod = module(made, batch, dtype, sums, rectified)
    graph = extract(mod).graph
    assert len(graph) == len(made) * (1 + rectified)
    rows = lowered(mod, whole(graph) if rectified else apart(graph, kind), vector_bytes)
    assert len(calls(rows)) == len(made)
    packed = [weights for call in calls(rows).values() for weights in constants(call) if weights.ndim == 1]
    for convolution in made:
        elements = np.sort(convolution.weight(dtype), axis=None)
        assert elements.size == 1 or any(np.array_equal(np.sort(found), elements) for found in packed)
    x = array((batch, made[0].inputs, *made[0].size), dtype)
    for convolution, found in zip(made, outputs(rows, [x]), strict=True):
        expected, magnitude = convolution.computed(x, dtype)
        expected = np.maximum(expected, 0) if rectified else expected
        assert found.shape == expected.shape
        assert (abs(found - expected) <= error_bound(convolution.products, magnitude, sums)).all(), convolution


def check_random(options: settings, dtypes: tuple[tuple[str, str], ...] = DTYPES[:1] + DTYPES) -> None:
    @given(several(), st.sampled_from((1, 1, 2)), st.sampled_from(dtypes), st.sampled_from(PLANS), WIDTHS)
    @options
    def compared(made: list[Convolution], batch: int, dtypes: tuple[str, str], kind: str, vector_bytes: int) -> None:
        check(made, batch, dtypes, kind, vector_bytes)

    compared()


def test_random_convolutions() -> None:
    """Without float16, which takes long to compile where the processor has none."""
    check_random(settings(max_examples=8, derandomize=True, **PLAIN), DTYPES[:2])


@pytest.mark.slow
def test_many_random_convolutions() -> None:
    check_random(settings(max_examples=EXAMPLES, **PLAIN))


def known(**different: object) -> Convolution:
    """A plain convolution 3x3 that keeps the size, with some facts of another kind."""
    plain: dict[str, object] = {
        "size": (5, 9), "inputs": 6, "outputs": 10, "groups": 1, "kernel": (3, 3), "strides": (1, 1),
        "padding": (1, 1, 1, 1), "dilation": (1, 1), "bias": True, "seed": 1,
    }  # fmt: skip
    return Convolution(**{**plain, **different})  # type: ignore[arg-type]


KNOWN = {
    "plain": known(),
    "1x1": known(kernel=(1, 1), padding=(0,) * 4),
    "strided 1x1": known(kernel=(1, 1), padding=(0,) * 4, strides=(2, 2)),
    "grouped": known(groups=2),
    "depthwise": known(groups=6, outputs=6),
    "depthwise with a multiplier": known(groups=6, outputs=18),
    "depthwise of more channels than a register": known(inputs=21, groups=21, outputs=21),
    "dilated": known(dilation=(2, 3), padding=(2, 3, 2, 3)),
    "strided, padded on one side": known(strides=(2, 2), padding=(0, 0, 1, 1)),
    "wider than its input": known(size=(2, 3), kernel=(7, 7), padding=(3, 3, 3, 3)),
    "wholly in the padding": known(padding=(4, 5, 6, 7)),
    "one channel": known(inputs=1, outputs=1),
    "many channels of a wide row": known(size=(3, 40), inputs=3, outputs=37),
    "one row": known(size=(1, 12)),
    "one column": known(size=(6, 1)),
    "one place": known(size=(1, 1), kernel=(1, 1), padding=(0,) * 4, outputs=39),
}


@pytest.mark.parametrize(("vector_bytes", "kind"), zip((16, 32, 64), PLANS, strict=True))
def test_known_convolutions(vector_bytes: int, kind: str) -> None:
    """All of those at once that read one input."""
    for inputs in {(c.inputs, c.size) for c in KNOWN.values()}:
        made = [c for c in KNOWN.values() if (c.inputs, c.size) == inputs]
        check(made, 1, ("float32", "float32"), kind, vector_bytes)


@pytest.mark.parametrize("dtypes", [dtypes for dtypes in DTYPES if dtypes[0] != "float32"], ids="-".join)
def test_other_dtypes(dtypes: tuple[str, str]) -> None:
    for kind in PLANS[1:]:
        check([known(size=(3, 4), outputs=5), known(size=(3, 4), groups=6, outputs=6)], 1, dtypes, kind, 16)


IMAGES_MADE: dict[str, Callable[[Any], Any]] = {
    "by concatenation": lambda x: op.concat([x, x], 0),
    "of channels": lambda x: op.reshape(x, (2, 2, 4, 5)),
}


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("name", IMAGES_MADE)
def test_images_that_are_no_batch(name: str, scheme: str) -> None:
    """The network has one image; two of them go through the convolution."""
    mod = stepwise(lambda emit, x: conv(emit(IMAGES_MADE[name](emit(op.nn.relu(x)))), 3), (1, 4, 4, 5))
    rows = lowered(mod, apart(extract(mod).graph, scheme))
    inputs = random_inputs(mod)
    assert largest_relative_error(outputs(rows, inputs), run(mod, inputs)) < 1e-5
