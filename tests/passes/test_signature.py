"""signature: inputs and outputs as a caller of the compiled network meets them."""

from __future__ import annotations

from typing import Any

import pytest
from tvm import relax
from tvm.relax import op

from tests.passes.modules import run, stepwise
from tests.passes.networks import NETWORKS, X, named
from tvm_fusion.passes.execute import random_inputs
from tvm_fusion.passes.signature import signature


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_and_dtypes_are_those_of_a_run(name: str) -> None:
    mod = named(name)
    inputs, outputs = signature(mod)
    arrays = random_inputs(mod)
    assert [(tensor.shape, tensor.dtype) for tensor in inputs] == [(a.shape, str(a.dtype)) for a in arrays]
    results = run(mod, arrays)
    assert [(tensor.shape, tensor.dtype) for tensor in outputs] == [(a.shape, str(a.dtype)) for a in results]


def test_outputs_that_no_operator_computes_count_and_tuples_are_opened() -> None:
    """An input that is returned, a result returned twice, a view of it: the operator graph has one output."""

    def build(emit: Any, x: Any) -> Any:
        y = emit(op.nn.relu(x))
        return y, relax.Tuple([x, y]), emit(op.reshape(y, (-1,)))

    mod = stepwise(build, X)
    _, outputs = signature(mod)
    results = run(mod, random_inputs(mod))
    assert [tensor.shape for tensor in outputs] == [array.shape for array in results]
    assert len(outputs) == 4


def test_json() -> None:
    inputs, _ = signature(named("residual"))
    assert inputs[0].to_json() == {"name": "x0", "shape": [1, 4, 8, 8], "dtype": "float32"}
