"""Normalize folds batch norm and constants, and changes no result."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op

from tests.golden import normalize as golden
from tests.passes.modules import Shape, batch_norm, bias, conv, copied, network, operators_of, run, stepwise, weight
from tvm_fusion.errors import FrontendError
from tvm_fusion.passes import Normalize, normalize
from tvm_fusion.passes.affine import scaled_convolution
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.relax_tools import constant, constant_array

X = (1, 4, 9, 7)
Build = Callable[..., Any]


def assert_same_results(mod: tvm.IRModule) -> tvm.IRModule:
    """The normalised module, whose results are those of ``mod`` but for rounding."""
    new = normalize(mod)
    inputs = random_inputs(mod)
    assert largest_relative_error(run(new, inputs), run(mod, inputs)) < 1e-4
    return new


CONVOLUTIONS = {
    "plain": (lambda emit, x: conv(x, 6), X),
    "grouped": (lambda emit, x: conv(x, 6, groups=2), X),
    "depthwise": (lambda emit, x: conv(x, 4, groups=4), X),
    "strided": (lambda emit, x: conv(x, 6, strides=2, dilation=2), X),
    "transposed": (lambda emit, x: op.nn.conv2d_transpose(x, weight(4, 5, 3, 3), strides=2), X),
    "grouped transposed": (lambda emit, x: op.nn.conv2d_transpose(x, weight(4, 3, 3, 3), strides=2, groups=2), X),
    "1d": (lambda emit, x: op.nn.conv1d(x, weight(5, 4, 3)), (1, 4, 9)),
    "3d": (lambda emit, x: op.nn.conv3d(x, weight(5, 4, 3, 3, 3)), (1, 4, 5, 5, 5)),
    "1d transposed": (lambda emit, x: op.nn.conv1d_transpose(x, weight(4, 5, 3), strides=2), (1, 4, 9)),
    "batch": (lambda emit, x: conv(x, 6), (3, *X[1:])),
}  # fmt: skip


@pytest.mark.parametrize(("build", "shape"), CONVOLUTIONS.values(), ids=CONVOLUTIONS)
def test_batch_norm_folds_into_a_convolution(build: Build, shape: Shape) -> None:
    mod = stepwise(lambda emit, x: batch_norm(emit(build(emit, x))), shape)
    operators = operators_of(assert_same_results(mod))
    assert len(operators) == 2
    assert operators[0].startswith("nn.conv")
    assert operators[1] == "add"


def test_batch_norm_folds_through_the_bias() -> None:
    mod = stepwise(lambda emit, x: batch_norm(emit(op.add(emit(conv(x, 6)), bias(6)))), X)
    assert operators_of(assert_same_results(mod)) == ["nn.conv2d", "add"]


def test_batch_norm_folds_along_the_channels_of_its_layout() -> None:
    def build(emit: Any, x: Any) -> Any:
        made = op.nn.conv2d(x, weight(3, 3, 4, 5), data_layout="NHWC", kernel_layout="HWIO")
        return batch_norm(emit(made), axis=3)

    assert operators_of(assert_same_results(stepwise(build, (1, 9, 7, 4)))) == ["nn.conv2d", "add"]


@pytest.mark.parametrize("options", [{"center": False}, {"scale": False}, {"epsilon": 0.1}], ids=str)
def test_options_of_batch_norm(options: dict[str, Any]) -> None:
    assert_same_results(stepwise(lambda emit, x: batch_norm(emit(conv(x, 6)), **options), X))


def test_batch_norm_along_another_axis_stays_apart() -> None:
    mod = stepwise(lambda emit, x: batch_norm(emit(conv(x, 6)), axis=3), X)
    assert operators_of(assert_same_results(mod)) == ["nn.conv2d", "multiply", "add"]


def test_batch_norm_before_a_convolution_becomes_scale_and_shift() -> None:
    mod = stepwise(lambda emit, x: conv(emit(batch_norm(x)), 6), X)
    assert operators_of(assert_same_results(mod)) == ["multiply", "add", "nn.conv2d"]


def test_two_batch_norms_become_one() -> None:
    mod = stepwise(lambda emit, x: batch_norm(emit(batch_norm(x)), seed=5), X)
    assert operators_of(assert_same_results(mod)) == ["multiply", "add"]


@pytest.mark.parametrize("again", [
    lambda emit, made: (batch_norm(made), made),
    lambda emit, made: op.add(emit(batch_norm(made)), emit(op.nn.relu(made))),
], ids=["output", "reader"])  # fmt: skip
def test_a_convolution_that_others_read_keeps_its_weight(again: Build) -> None:
    mod = stepwise(lambda emit, x: again(emit, emit(conv(x, 6))), X)
    assert "multiply" in operators_of(assert_same_results(mod))


def test_weight_that_is_an_input_keeps_the_batch_norm_apart() -> None:
    mod = stepwise(lambda emit, x, w: batch_norm(emit(op.nn.conv2d(x, w))), X, (6, 4, 3, 3))
    assert operators_of(assert_same_results(mod)) == ["nn.conv2d", "multiply", "add"]


def test_statistics_that_are_inputs_stay() -> None:
    def build(emit: Any, x: Any, *statistics: Any) -> Any:
        return emit(op.nn.batch_norm(x, *statistics, axis=1, training=False))[0]

    mod = stepwise(build, X, (4,), (4,), (4,), (4,))
    assert operators_of(normalize(mod)) == ["nn.batch_norm"]


@pytest.mark.parametrize(("between", "left"), [
    (lambda emit, made: op.multiply(made, bias(6)), ["nn.conv2d"]),
    (lambda emit, made: op.subtract(made, bias(6)), ["nn.conv2d", "subtract"]),
    (lambda emit, made: op.multiply(emit(op.subtract(made, bias(6))), bias(6)), ["nn.conv2d", "add"]),
    (lambda emit, made: op.multiply(emit(op.add(bias(6), made)), bias(6)), ["nn.conv2d", "add"]),
    (lambda emit, made: op.subtract(bias(6), made), ["nn.conv2d", "subtract"]),
    (lambda emit, made: op.multiply(relax.const(2.0), made), ["nn.conv2d"]),
    (lambda emit, made: op.multiply(made, weight(1, 6, 9, 1)), ["nn.conv2d", "multiply"]),
], ids=["scale", "subtract", "subtract, scale", "bias, scale", "constant first", "scalar", "map"])  # fmt: skip
def test_constants_after_a_convolution(between: Build, left: list[str]) -> None:
    mod = stepwise(lambda emit, x: between(emit, emit(conv(x, 6))), X)
    assert operators_of(assert_same_results(mod)) == left


@pytest.mark.parametrize("build", [
    lambda emit, x: op.add(x, emit(op.nn.relu(emit(op.add(weight(4, 1, 1), weight(4, 1, 1, seed=5)))))),
    lambda emit, x: op.add(x, emit(op.reshape(emit(op.permute_dims(weight(2, 2))), (4, 1, 1)))),
    lambda emit, x: op.add(x, emit(op.concat([weight(2, 1, 1), weight(2, 1, 1)], 0))),
    lambda emit, x: op.add(x, emit(op.strided_slice(weight(9, 1, 1), [0], [8], [0], [-2]))),
    lambda emit, x: op.add(x, emit(op.split(weight(8, 1, 1), 2, 0))[1]),
    lambda emit, x: op.add(x, emit(op.sum(weight(4, 3, 1), [1], True))),
    lambda emit, x: op.add(x, emit(op.full(X, relax.const(3.0)))),
    lambda emit, x: op.nn.relu(emit(op.add(x, emit(op.astype(relax.const(2), "float32"))))),
], ids=["arithmetic", "views", "concat", "slice", "split", "by TVM", "full", "astype"])  # fmt: skip
def test_constants_are_computed_once(build: Build) -> None:
    left = operators_of(assert_same_results(stepwise(build, X)))
    assert set(left) <= {"add", "nn.relu"}


def test_uniform_tensor_becomes_a_scalar_where_the_shape_allows_it() -> None:
    new = assert_same_results(stepwise(lambda emit, x: op.multiply(x, emit(op.full(X, relax.const(3.0)))), X))
    (binding,) = (b for b in new["main"].body.blocks[0].bindings if isinstance(b.value, relax.Call))
    assert binding.value.args[1].ty.shape.values == []


@pytest.mark.parametrize("build", [
    lambda x: op.reshape(x, X), lambda x: op.permute_dims(x, [0, 1, 2, 3]), lambda x: op.broadcast_to(x, X),
    lambda x: op.nn.pad(x, [0] * 8), lambda x: op.astype(x, "float32"), lambda x: op.multiply(x, relax.const(1.0)),
    lambda x: op.nn.dropout(x)[0],
], ids=["reshape", "permute", "broadcast", "pad", "astype", "times one", "dropout"])  # fmt: skip
def test_work_that_does_nothing_goes(build: Build) -> None:
    mod = network(lambda x: op.nn.relu(build(x)), X)
    assert operators_of(normalize(mod)) == ["nn.relu"]


def test_two_clips_become_one() -> None:
    mod = network(lambda x: op.clip(op.clip(x, -2.0, 5.0), 0.0, 9.0), X)
    new = assert_same_results(mod)
    assert operators_of(new) == ["clip"]


def test_clips_without_common_numbers_stay() -> None:
    mod = network(lambda x: op.clip(op.clip(x, -2.0, -1.0), 3.0, 9.0), X)
    assert operators_of(assert_same_results(mod)) == ["clip", "clip"]


def test_sum_of_a_stack_becomes_additions() -> None:
    mod = stepwise(lambda emit, x, y, z: op.sum(emit(op.stack([x, y, z], 0)), [0]), X, X, X)
    assert operators_of(assert_same_results(mod)) == ["add", "add"]


def test_dead_work_goes() -> None:
    mod = stepwise(lambda emit, x: (emit(op.exp(x)), op.nn.relu(x))[1], X)
    assert operators_of(normalize(mod)) == ["nn.relu"]


def test_match_cast_is_taken_through() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType(list(X), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            cast = builder.match_cast(x, relax.TensorType(list(X), "float32"))
            output = builder.emit_output(op.nn.relu(cast))
        builder.emit_func_output(output)
    assert_same_results(builder.finalize())


FEW = settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
STEPS = ("conv", "grouped", "transposed", "bn", "bias", "scale", "scalar", "relu", "skip", "minus")


def convolutional_step(step: str, at: Any, before: Any, seed: int) -> Any:
    made = {
        "conv": lambda: conv(at, 4, seed=seed),
        "grouped": lambda: conv(at, 4, groups=2, seed=seed),
        "transposed": lambda: op.nn.conv2d_transpose(at, weight(4, 4, 3, 3, seed=seed), padding=1),
        "bn": lambda: batch_norm(at, seed=seed),
        "bias": lambda: op.add(bias(4, seed), at),
        "scale": lambda: op.multiply(at, bias(4, seed)),
        "scalar": lambda: op.multiply(at, relax.const(0.5)),
        "relu": lambda: op.nn.relu(at),
        "skip": lambda: op.add(at, before),
        "minus": lambda: op.subtract(at, bias(4, seed)),
    }
    return made[step]()


@given(steps=st.lists(st.sampled_from(STEPS), min_size=2, max_size=7), seed=st.integers(0, 99))
@FEW
def test_random_convolutional_networks_keep_their_results(steps: list[str], seed: int) -> None:
    def build(emit: Any, x: Any) -> Any:
        at = before = x
        for k, step in enumerate(steps):
            before, at = at, emit(convolutional_step(step, at, before, seed + k))
        return at

    mod = stepwise(build, (1, 4, 6, 5))
    new = assert_same_results(mod)
    assert "nn.batch_norm" not in operators_of(new)


def test_expected_module() -> None:
    tvm.ir.assert_structural_equal(Normalize()(golden.Before), golden.Expected)


def test_is_idempotent() -> None:
    once = normalize(stepwise(lambda emit, x: op.nn.relu(emit(batch_norm(emit(conv(x, 6))))), X))
    tvm.ir.assert_structural_equal(normalize(once), once)


def test_leaves_its_input_as_it_is() -> None:
    mod = stepwise(lambda emit, x: op.nn.relu(emit(batch_norm(emit(conv(x, 6))))), X)
    before = copied(mod)
    Normalize()(mod)
    tvm.ir.assert_structural_equal(mod, before)


def test_other_functions_stay() -> None:
    mod = network(op.nn.relu, X)
    mod["helper"] = network(op.exp, X)["main"].with_attr("global_symbol", "helper")
    tvm.ir.assert_structural_equal(normalize(mod)["helper"], mod["helper"])


def test_refuses_a_module_without_main() -> None:
    mod = tvm.IRModule({"other": network(op.exp, X)["main"]})
    with pytest.raises(FrontendError, match="no function 'main'; it has: other"):
        normalize(mod)


def test_refuses_a_dynamic_shape() -> None:
    builder = relax.BlockBuilder()
    x = relax.Var("x", relax.TensorType([1, 4, tvm.tirx.Var("h", "int64"), 7], "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            output = builder.emit_output(op.concat([op.nn.relu(x), op.nn.relu(x)], 1))
        builder.emit_func_output(output)
    with pytest.raises(FrontendError, match="dynamic size h"):
        normalize(builder.finalize())


def test_refuses_control_flow() -> None:
    builder = relax.BlockBuilder()
    x, choice = relax.Var("x", relax.TensorType(list(X), "float32")), relax.Var("c", relax.TensorType([], "bool"))
    with builder.function("main", [x, choice]):
        branch = relax.SeqExpr([], x)
        result = builder.emit(relax.If(choice, branch, branch))
        builder.emit_func_output(result)
    with pytest.raises(FrontendError, match="control flow"):
        normalize(builder.finalize())


def test_folded_weights_stay_float32() -> None:
    new = normalize(stepwise(lambda emit, x: batch_norm(emit(conv(x, 6))), X))
    calls = [b.value for b in new["main"].body.blocks[0].bindings if isinstance(b.value, relax.Call)]
    assert [str(call.args[1].ty.dtype) for call in calls] == ["float32", "float32"]


def test_transposed_weight_is_scaled_alike_in_either_layout() -> None:
    """TVM executes the layout IOHW only; the other one must hold the same numbers."""
    kernel, scale = np.ones((4, 3, 2, 2), np.float32), np.arange(1.0, 7.0)
    x = relax.Var("x", relax.TensorType(list(X), "float32"))

    def scaled(layout: str) -> np.ndarray:
        stored = kernel if layout == "IOHW" else kernel.transpose(1, 0, 2, 3)
        call = op.nn.conv2d_transpose(x, constant(stored), groups=2, kernel_layout=layout)
        return constant_array(scaled_convolution(call, scale).args[1])

    np.testing.assert_array_equal(scaled("OIHW"), scaled("IOHW").transpose(1, 0, 2, 3))
    np.testing.assert_array_equal(scaled("IOHW")[:, :, 0, 0], [[1, 2, 3], [1, 2, 3], [4, 5, 6], [4, 5, 6]])
