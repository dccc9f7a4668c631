"""Extract: which operators a network has, what they weigh and compute, and which bindings they stand for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import Shape, batch_norm, bias, conv, copied, network, stepwise, weight
from tests.passes.networks import NETWORKS, X, named
from tests.passes.row_reach import assert_sound
from tvm_fusion.errors import FrontendError
from tvm_fusion.graph import Operator, Window
from tvm_fusion.graph.demand import ACCUMULATE, SINGLE
from tvm_fusion.passes import extract
from tvm_fusion.passes.relax_tools import bindings


def only(mod: tvm.IRModule) -> Operator:
    """The single operator of a module."""
    (operator,) = extract(mod).graph.operators
    return operator


@pytest.mark.parametrize("name", NETWORKS)
def test_every_output_row_that_an_input_row_changes_demands_it(name: str) -> None:
    """Row demands composed over whole networks."""
    assert_sound(named(name))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_binding_belongs_to_one_operator(name: str) -> None:
    found = extract(named(name))
    names = [name for operator in found.bindings for name in operator]
    tuples = {b.var.name for b in bindings(found.module["main"]) if isinstance(b.value, relax.Tuple)}
    assert sorted(names) == sorted({b.var.name for b in bindings(found.module["main"])} - tuples)
    assert len(found.bindings) == len(found.graph)


def test_operators_of_a_residual_block() -> None:
    graph = extract(named("residual")).graph
    assert [operator.type for operator in graph.operators] == ["conv2d", "relu", "conv2d", "add", "relu"]
    assert [operator.inputs for operator in graph.operators] == [(-1,), (0,), (1,), (-1, 2), (3,)]
    assert [operator.pointwise for operator in graph.operators] == [False, True, False, True, True]
    assert (graph.outputs, graph.warnings) == ((4,), ())


def test_operators_of_squeeze_and_excite() -> None:
    graph = extract(named("squeeze and excite")).graph
    assert [operator.type for operator in graph.operators] == [
        "conv2d", "global_avg_pool2d", "conv2d", "sigmoid", "multiply", "reshape", "dense",
    ]  # fmt: skip
    assert graph.operators[1].demands == (ACCUMULATE,)
    assert dict(zip(graph.operators[4].inputs, graph.operators[4].demands, strict=True))[3] == SINGLE


@pytest.mark.parametrize(("build", "macs", "weights"), [
    (lambda x: conv(x, 6), 6 * 64 * 4 * 9, 6 * 4 * 9),
    (lambda x: conv(x, 6, groups=2), 6 * 64 * 2 * 9, 6 * 2 * 9),
    (lambda x: conv(x, 8, groups=4, strides=2), 8 * 16 * 9, 8 * 9),
    (lambda x: op.add(conv(x, 6), bias(6)), 6 * 64 * 4 * 9, 6 * 4 * 9 + 6),
    (lambda x: op.nn.conv2d_transpose(x, weight(4, 5, 3, 3)), 64 * 4 * 5 * 9, 4 * 5 * 9),
    (lambda x: op.nn.conv2d_transpose(x, weight(4, 3, 3, 3), groups=2), 64 * 4 * 3 * 9, 4 * 3 * 9),
    (lambda x: op.matmul(x, weight(8, 3)), 4 * 8 * 8 * 3, 8 * 3),
    (lambda x: op.matmul(x, op.permute_dims(x, [0, 1, 3, 2])), 4 * 8 * 8 * 8, 0),
    (op.nn.relu, 0, 0),
    (lambda x: op.add(x, relax.const(2.0)), 0, 0),
    (lambda x: op.nn.layer_norm(x, weight(8), weight(8), axes=-1), 0, 16),
    (lambda x: op.nn.max_pool2d(x, 3), 0, 0),
], ids=["conv", "grouped", "depthwise", "bias", "transposed", "transposed grouped", "dense", "product", "relu",
        "scalar", "layer_norm", "pool"])  # fmt: skip
def test_arithmetic_and_weights(build: Any, macs: int, weights: int) -> None:
    operator = extract(network(build, X)).graph.operators[-1]
    assert (operator.macs, operator.weight_elements) == (macs, weights)


def test_macs_are_those_of_one_image() -> None:
    one, four = (only(network(lambda x: conv(x, 6), (batch, *X[1:]))) for batch in (1, 4))
    assert one.macs == four.macs
    assert (four.batch, four.elements) == (4, one.elements)


def test_window_of_a_convolution() -> None:
    options: dict[str, Any] = {"strides": (2, 1), "padding": (1, 2, 3, 4), "dilation": (1, 2)}
    operator = only(network(lambda x: op.nn.conv2d(x, weight(6, 4, 3, 2), **options), X))
    assert operator.window == Window((3, 2), (2, 1), (1, 2, 3, 4), (1, 2))


@pytest.mark.parametrize("build", [
    lambda emit, x: op.add(emit(conv(x, 6)), bias(6)),
    lambda emit, x: batch_norm(emit(conv(x, 6))),
    lambda emit, x: op.subtract(emit(op.nn.conv2d_transpose(x, weight(4, 5, 3, 3))), bias(5)),
    lambda emit, x: op.add(weight(8, seed=4), emit(op.matmul(x, weight(8, 8)))),
], ids=["bias", "batch norm", "transposed", "dense"])  # fmt: skip
def test_bias_belongs_to_its_operator(build: Any) -> None:
    assert not only(stepwise(build, X)).pointwise


def test_constant_that_is_not_by_channel_is_an_operator() -> None:
    mod = stepwise(lambda emit, x: op.add(emit(conv(x, 6)), weight(1, 6, 8, 8)), X)
    assert [operator.type for operator in extract(mod).graph.operators] == ["conv2d", "add"]


def test_bias_of_a_convolution_that_others_read_is_an_operator() -> None:
    def build(emit: Any, x: Any) -> Any:
        made = emit(conv(x, 6))
        return op.multiply(emit(op.add(made, bias(6))), made)

    assert [o.type for o in extract(stepwise(build, X)).graph.operators] == ["conv2d", "add", "multiply"]


def test_batch_norm_that_stands_alone_is_one_pointwise_operator() -> None:
    operator = only(stepwise(lambda emit, x: batch_norm(x), X))
    assert (operator.type, operator.pointwise, operator.weight_elements) == ("batch_norm", True, 8)


def test_operand_that_is_read_twice_stands_once() -> None:
    operator = only(network(lambda x: op.concat([x, x], 1), X))
    assert operator.inputs == (-1,)


def test_operands_are_inputs_first_then_ascending() -> None:
    def build(emit: Any, x: Any, y: Any) -> Any:
        made = emit(conv(x, 4))
        return op.concat([made, y, x], 1)

    assert extract(stepwise(build, X, X)).graph.operators[1].inputs == (-1, -2, 0)


def test_outputs_stand_once_each() -> None:
    def build(emit: Any, x: Any) -> Any:
        made = emit(op.exp(x))
        return made, emit(op.nn.relu(made)), made

    assert extract(stepwise(build, X)).graph.outputs == (0, 1)


@pytest.mark.parametrize(("shapes", "batch"), [
    ([(2, 4, 8, 8)], 2), ([(2, 4, 8, 8), (2, 3)], 2), ([(2, 4, 8, 8), (1, 3)], 1), ([(5,)], 1),
])  # fmt: skip
def test_batch_is_the_first_axis_that_inputs_share(shapes: list[Shape], batch: int) -> None:
    mod = network(lambda *inputs: tuple(op.exp(x) for x in inputs), *shapes)
    assert extract(mod).graph.batch == batch


@pytest.mark.parametrize("dtype", ["float16", "int8", "float32"])
def test_dtypes(dtype: str) -> None:
    graph = extract(network(lambda x: op.add(x, x), X, dtype=dtype)).graph
    assert (graph.inputs[0].dtype, graph.operators[0].dtype) == (dtype, dtype)


def test_weights_keep_their_dtype() -> None:
    mod = network(lambda x: op.matmul(x, relax.const(np.zeros((8, 3), np.float16))), X, dtype="float16")
    assert only(mod).weight_dtype == "float16"


def test_unknown_operator_warns_once_and_holds_everything() -> None:
    graph = extract(network(op.triu, X)).graph
    assert [demand.kind for demand in graph.operators[0].demands] == ["all"]
    assert len(graph.warnings) == 1
    assert "(triu) has no row rule" in graph.warnings[0]


def test_call_of_a_prim_func_holds_everything() -> None:
    legal = relax.transform.LegalizeOps()(network(op.nn.relu, X))
    graph = extract(legal).graph
    assert [demand.kind for demand in graph.operators[0].demands] == ["all"]
    assert graph.warnings


def test_input_that_is_an_output_warns() -> None:
    graph = extract(network(lambda x: (op.exp(x), x), X)).graph
    assert len(graph) == 1
    assert "nothing computes it" in graph.warnings[0]


@pytest.mark.parametrize("build", [lambda x: op.reshape(x, X), lambda x: x], ids=["reshape of nothing", "itself"])
def test_network_that_computes_nothing_is_refused(build: Any) -> None:
    with pytest.raises(FrontendError, match="'idle' computes nothing"):
        extract(network(build, X), "idle")


def test_leaves_its_input_as_it_is() -> None:
    mod = named("residual")
    before = copied(mod)
    extract(mod)
    tvm.ir.assert_structural_equal(mod, before)


def test_same_network_same_fingerprint() -> None:
    """Names do not count, and a normalised network has the graph of the network."""
    first, again = extract(named("branches")), extract(copied(named("branches")), "other")
    assert first.graph.fingerprint == again.graph.fingerprint
    assert extract(first.module).graph.fingerprint == first.graph.fingerprint
