"""Bindings that are one operator: activations by what they compute, arithmetic with scalars beside them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax
from tvm.relax import op

from tests.passes.modules import conv, run, stepwise
from tvm_fusion.graph.plan import Group, PartitionPlan, check_plan
from tvm_fusion.passes import extract
from tvm_fusion.passes.elementwise import KNOWN
from tvm_fusion.passes.relax_tools import bindings

X = (1, 4, 3, 5)


def scalar(value: float) -> Any:
    return relax.const(value, "float32")


def hard_sigmoid(emit: Any, x: Any) -> Any:
    return emit(op.divide(emit(op.clip(emit(op.add(x, scalar(3))), 0, 6)), scalar(6)))


def gelu(emit: Any, x: Any) -> Any:
    inner = emit(op.add(emit(op.erf(emit(op.divide(x, scalar(2**0.5))))), scalar(1)))
    return op.multiply(emit(op.multiply(x, inner)), scalar(0.5))


def gelu_tanh(emit: Any, x: Any) -> Any:
    cube = emit(op.multiply(emit(op.multiply(emit(op.multiply(x, x)), x)), scalar(0.044715)))
    inner = emit(op.tanh(emit(op.multiply(emit(op.add(x, cube)), scalar((2 / np.pi) ** 0.5)))))
    return op.multiply(emit(op.multiply(x, scalar(0.5))), emit(op.add(inner, scalar(1))))


def elu(emit: Any, x: Any) -> Any:
    below = emit(op.subtract(emit(op.exp(x)), scalar(1)))
    return op.where(emit(op.greater(x, scalar(0))), x, below)


def mish(emit: Any, x: Any) -> Any:
    softplus = emit(op.log(emit(op.add(emit(op.exp(x)), scalar(1)))))
    return op.multiply(x, emit(op.tanh(softplus)))


ACTIVATIONS = {
    "silu": lambda emit, x: op.multiply(x, emit(op.sigmoid(x))),
    "hard_swish": lambda emit, x: op.multiply(x, hard_sigmoid(emit, x)),
    "hard_sigmoid": hard_sigmoid,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": lambda emit, x: op.multiply(x, emit(op.sigmoid(emit(op.multiply(x, scalar(1.702)))))),
    "mish": mish,
    "elu": elu,
    "activation": lambda emit, x: op.multiply(x, emit(op.sin(x))),
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_is_one_operator_by_its_name(name: str) -> None:
    mod = stepwise(lambda emit, x: ACTIVATIONS[name](emit, emit(conv(x, 4))), X)
    graph = extract(mod).graph
    assert [operator.type for operator in graph.operators] == ["conv2d", name]
    assert (graph.operators[1].pointwise, graph.operators[1].weight_elements) == (True, 0)
    assert graph.operators[1].inputs == (0,)


@pytest.mark.parametrize("name", [name for name in ACTIVATIONS if name != "activation"])
def test_activation_computes_what_its_name_says(name: str) -> None:
    mod = stepwise(ACTIVATIONS[name], (257,))
    x = np.linspace(-8, 8, 257, dtype=np.float32)
    np.testing.assert_allclose(run(mod, [x])[0], KNOWN[name](x.astype(np.float64)), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("build", "type_"), [
    (op.nn.relu, "relu"), (op.nn.silu, "silu"), (op.nn.gelu, "gelu"), (op.sigmoid, "sigmoid"), (op.tanh, "tanh"),
    (lambda x: op.clip(x, 0, 6), "relu6"), (lambda x: op.clip(x, 0, 1), "clip"), (op.nn.leakyrelu, "leakyrelu"),
    (op.nn.relu6, "relu6"),
])  # fmt: skip
def test_operator_that_is_an_activation_already(build: Any, type_: str) -> None:
    mod = stepwise(lambda emit, x: build(emit(conv(x, 4))), X)
    assert [operator.type for operator in extract(mod).graph.operators] == ["conv2d", type_]


def types(build: Any, *shapes: tuple[int, ...]) -> list[str]:
    return [operator.type for operator in extract(stepwise(build, *shapes)).graph.operators]


def test_gate_of_another_tensor_is_no_activation() -> None:
    assert types(lambda emit, x, y: op.multiply(x, emit(op.sigmoid(y))), X, X) == ["sigmoid", "multiply"]


def test_part_that_is_read_elsewhere_stays_an_operator() -> None:
    def build(emit: Any, x: Any) -> Any:
        gate = emit(op.sigmoid(x))
        return emit(op.multiply(x, gate)), emit(op.exp(gate))

    assert types(build, X) == ["sigmoid", "multiply", "exp"]


def test_part_that_is_an_output_stays_an_operator() -> None:
    def build(emit: Any, x: Any) -> Any:
        gate = emit(op.sigmoid(x))
        return emit(op.multiply(x, gate)), gate

    assert types(build, X) == ["sigmoid", "multiply"]


def test_constant_by_channel_is_no_activation() -> None:
    def build(emit: Any, x: Any) -> Any:
        scale = relax.const(np.arange(1, 5, dtype=np.float32).reshape(1, 4, 1, 1))
        return op.multiply(x, emit(op.sigmoid(emit(op.multiply(x, scale)))))

    assert types(build, X) == ["multiply", "sigmoid", "multiply"]


def test_activation_of_a_tensor_that_broadcasts_is_not_joined() -> None:
    """x (one row) * sigmoid of its broadcast is not a function of one element."""

    def build(emit: Any, x: Any, y: Any) -> Any:
        wide = emit(op.add(x, y))
        return op.multiply(wide, emit(op.sigmoid(x)))

    assert types(build, (1, 4, 1, 5), X) == ["add", "sigmoid", "multiply"]


def test_scalars_between_two_operators_that_are_no_activations_stay() -> None:
    """A residual's scaling is arithmetic, not an activation."""

    def build(emit: Any, x: Any) -> Any:
        return op.add(x, emit(op.multiply(emit(op.nn.max_pool2d(x, 3, 1, 1)), scalar(0.2))))

    assert types(build, X) == ["max_pool2d", "multiply", "add"]


STEPS = ("add", "multiply", "scale", "shift", "clip", "sigmoid", "tanh", "conv", "mean")
MANY = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def elementwise_step(step: str, emit: Any, left: Any, right: Any) -> Any:
    made = {
        "add": lambda: op.add(left, right),
        "multiply": lambda: op.multiply(left, right),
        "scale": lambda: op.multiply(left, scalar(0.5)),
        "shift": lambda: op.add(left, scalar(3)),
        "clip": lambda: op.clip(left, 0, 6),
        "sigmoid": lambda: op.sigmoid(left),
        "tanh": lambda: op.tanh(left),
        "conv": lambda: conv(left, 4),
        "mean": lambda: op.add(left, emit(op.mean(left, [2, 3], True))),
    }
    return made[step]()


@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(1, 4), st.integers(1, 4)), min_size=1, max_size=12),
    outputs=st.sets(st.integers(0, 12), max_size=2),
)
@MANY
def test_any_elementwise_program_falls_into_operators(steps: list[tuple[str, int, int]], outputs: set[int]) -> None:
    """Nested, overlapping and shared regions: every binding ends in one operator, operands come before."""

    def build(emit: Any, x: Any) -> Any:
        values = [x]
        for step, a, b in steps:
            values.append(
                emit(elementwise_step(step, emit, values[-min(a, len(values))], values[-min(b, len(values))]))
            )
        return (values[-1], *(values[1 + k] for k in sorted(outputs) if k < len(steps) - 1))

    found = extract(stepwise(build, X))
    names = [name for operator in found.bindings for name in operator]
    tuples = {b.var.name for b in bindings(found.module["main"]) if isinstance(b.value, relax.Tuple)}
    assert sorted(names) == sorted({b.var.name for b in bindings(found.module["main"])} - tuples)
    check_plan(found.graph, PartitionPlan(tuple(Group((i,)) for i in range(len(found.graph)))))
