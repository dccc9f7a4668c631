"""Constants computed once: in NumPy what TVM computes, and nothing that must not be."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import network, run, weight
from tvm_fusion.passes import normalize
from tvm_fusion.passes.constant_folding import fold, splat_value
from tvm_fusion.passes.elementwise import BINARY, UNARY
from tvm_fusion.passes.relax_tools import bindings, constant_array, is_constant

ONE_TO_SIX = np.linspace(0.1, 0.9, 6, dtype=np.float32).reshape(2, 3)
_INTEGER = {"bitwise_not", "bitwise_and", "bitwise_or", "bitwise_xor", "left_shift", "right_shift"}
_BOOLEAN = {"logical_not", "logical_and", "logical_or", "logical_xor"}
_NO_LEGALIZATION = {"nn.relu6", "nn.selu"}


def folded(expr: Any) -> Any:
    return fold(relax.BlockBuilder().normalize(expr))


def operator(name: str) -> Any:
    parent = op
    for part in name.split("."):
        parent = getattr(parent, part)
    return parent


def operands(name: str, count: int) -> list[np.ndarray]:
    """Numbers where every operator is defined and none is at a step."""
    if name in _INTEGER:
        return [np.array([[5, 9, 12], [7, 3, 1]], np.int32), np.array([[1, 2, 3], [0, 1, 2]], np.int32)][:count]
    if name in _BOOLEAN:
        return [np.array([True, False, True, False]), np.array([True, True, False, False])][:count]
    shift = np.float32(1.2) if name == "acosh" else np.float32(0)
    return [ONE_TO_SIX + shift, ONE_TO_SIX[::-1] * np.float32(0.7)][:count]


@pytest.mark.parametrize("count", [1, 2])
def test_arithmetic_in_numpy_is_what_tvm_computes(count: int) -> None:
    """Every elementwise operator of the tables, all in one module."""
    table = UNARY if count == 1 else BINARY
    names = sorted(set(table) - _NO_LEGALIZATION)
    arrays = {name: operands(name, count) for name in names}

    def call(name: str, values: list[Any]) -> Any:
        return op.astype(operator(name)(*values), "float32")

    inputs = [array for name in names for array in arrays[name]]
    builder = relax.BlockBuilder()
    params = [relax.Var(f"p{k}", relax.TensorType(list(a.shape), str(a.dtype))) for k, a in enumerate(inputs)]
    with builder.function("main", params):
        with builder.dataflow():
            parts = [builder.emit(call(name, params[count * k : count * (k + 1)])) for k, name in enumerate(names)]
            output = builder.emit_output(relax.Tuple(parts))
        builder.emit_func_output(output)
    executed = dict(zip(names, run(builder.finalize(), inputs), strict=True))
    for name in names:
        own = folded(operator(name)(*(relax.const(a, str(a.dtype)) for a in arrays[name])))
        np.testing.assert_allclose(own.astype(np.float32), executed[name], rtol=2e-5, atol=1e-6, err_msg=name)


@pytest.mark.parametrize("build", [
    lambda c: op.reshape(c, (3, 2)), op.permute_dims, lambda c: op.permute_dims(c, [1, 0]),
    lambda c: op.broadcast_to(c, (4, 2, 3)), lambda c: op.concat([c, c], 1), lambda c: op.concat([c, c], -1),
    lambda c: op.strided_slice(c, [1], [2], [-9], [-2]), lambda c: op.strided_slice(c, [0, 1], [1, -2], [9, 9]),
    lambda c: op.expand_dims(c, 1), lambda c: op.where(op.greater(c, relax.const(0.5)), c, op.negative(c)),
    lambda c: op.clip(c, 0.2, 0.6), lambda c: op.nn.leakyrelu(op.negative(c), 0.1), lambda c: op.astype(c, "int32"),
    lambda c: op.sum(c, [1]), lambda c: op.take(c, relax.const(np.array([1, 0])), 0),
], ids=["reshape", "transpose", "permute", "broadcast", "concat", "concat last", "slice backwards", "slice",
        "expand_dims", "where", "clip", "leakyrelu", "astype", "sum", "take"])  # fmt: skip
def test_value_is_that_of_execution(build: Any) -> None:
    own = constant_result(normalize(network(lambda x: (op.exp(x), build(relax.const(ONE_TO_SIX))), (1,))))
    (executed,) = run(network(build, ONE_TO_SIX.shape), [ONE_TO_SIX])
    np.testing.assert_allclose(own, executed, rtol=1e-6)
    assert own.dtype == executed.dtype


def constant_result(mod: tvm.IRModule) -> np.ndarray:
    """The second part of the tuple that main returns, which must be a constant by now."""
    values = {b.var: b.value for b in bindings(mod["main"])}
    part = values.get(mod["main"].body.body, mod["main"].body.body).fields[1]
    part = values.get(part, part)
    assert is_constant(part)
    return np.asarray(constant_array(part))


@pytest.mark.parametrize("build", [
    lambda x: op.add(x, weight(2, 3)), lambda x: op.concat([x, weight(2, 3)], 0), lambda x: op.reshape(x, (6,)),
])  # fmt: skip
def test_what_reads_a_variable_is_not_folded(build: Any) -> None:
    assert folded(build(relax.Var("x", relax.TensorType([2, 3], "float32")))) is None


def test_tuples_are_not_folded() -> None:
    assert folded(op.split(weight(4, 3), 2, 0)) is None


@pytest.mark.parametrize(("call", "value"), [
    (op.full((2, 3), relax.const(7.0)), 7.0), (op.zeros((2,), "float32"), 0.0), (op.ones((2,), "float32"), 1.0),
    (op.ones_like(relax.Var("x", relax.TensorType([2], "float32"))), 1.0), (op.exp(weight(2)), None),
])  # fmt: skip
def test_uniform_tensors_by_their_value(call: Any, value: float | None) -> None:
    assert splat_value(relax.BlockBuilder().normalize(call)) == value
