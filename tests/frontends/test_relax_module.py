"""Relax modules from Python."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax

from tests.frontends.running import assert_close, noise, outputs_of, same_weights
from tvm_fusion import load_graph, load_network
from tvm_fusion.errors import FrontendError

Size = int | str


def module(*shapes: tuple[Size, ...], name: str = "main") -> tvm.IRModule:
    """relu of every input, added; a size given by its name is symbolic."""
    symbols: dict[str, Any] = {}
    builder = relax.BlockBuilder()
    params = [relax.Var(f"x{k}", relax.TensorType(sizes(shape, symbols), "float32")) for k, shape in enumerate(shapes)]
    with builder.function(name, params):
        with builder.dataflow():
            total = builder.emit(relax.op.nn.relu(params[0]))
            for param in params[1:]:
                total = builder.emit(relax.op.add(total, param))
            total = builder.emit_output(total)
        builder.emit_func_output(total)
    return builder.get()


def sizes(shape: tuple[Size, ...], symbols: dict[str, Any]) -> list[Any]:
    for size in shape:
        if isinstance(size, str):
            symbols.setdefault(size, tvm.tirx.Var(size, "int64"))
    return [symbols[size] if isinstance(size, str) else size for size in shape]


def dense(weights: list[Any] | None = None, num_input: int | None = 1) -> tvm.IRModule:
    """x @ w + b with w and b as parameters, as TVM's front ends leave them on request."""
    x, w, b = (relax.Var(n, relax.TensorType(s, "float32")) for n, s in (("x", (2, 6)), ("w", (6, 5)), ("b", (5,))))
    builder = relax.BlockBuilder()
    with builder.function("main", [x, w, b]):
        with builder.dataflow():
            result = builder.emit_output(relax.op.add(relax.op.matmul(x, w), b))
        builder.emit_func_output(result)
    made = builder.get()
    attributes = {"num_input": num_input, "params": weights and [tvm.runtime.tensor(w) for w in weights]}
    for key, value in attributes.items():
        if value is not None:
            made["main"] = made["main"].with_attr(key, value)
    return made


def test_network() -> None:
    graph = load_graph(module((1, 4, 8, 8), (1, 4, 8, 8)))
    assert graph.name == "network"
    assert [operator.type for operator in graph.operators] == ["relu", "add"]
    assert load_network(module((1, 4))).source == "relax"


def test_module_stays_as_it_is() -> None:
    given = module(("n", 4), ("n", 4))
    before = given.script()
    load_network(given, batch=3)
    assert given.script() == before


@pytest.mark.parametrize("batch", [1, 3])
def test_dynamic_batch_is_set_for_every_input(batch: int) -> None:
    for given in (module(("n", 4, 8, 8), ("n", 4, 8, 8)), module(("n", 4, 8, 8), ("m", 4, 8, 8))):
        graph = load_graph(given, batch=batch)
        assert [tensor.shape for tensor in graph.inputs] == [(batch, 4, 8, 8)] * 2


def test_other_dynamic_shapes_name_the_tensor() -> None:
    for shapes, words in (
        ([("n", 4, "h", 8)], "input 'x0' has the dynamic size h in dimension 2; only the batch may be dynamic"),
        ([(1, 4, 8, 8), (1, 4, "k", 8)], "input 'x1' has the dynamic size k in dimension 2"),
        ([("n", "n")], "input 'x0' has the dynamic size n in dimension 1"),
    ):
        with pytest.raises(FrontendError, match=words):
            load_network(module(*shapes), batch=2)


def test_fixed_batch() -> None:
    assert load_graph(module((4, 8)), batch=1).inputs[0].shape == (4, 8)
    assert load_graph(module((4, 8)), batch=4).inputs[0].shape == (4, 8)
    assert load_graph(module(("n", 8), (1, 8)), batch=4).inputs[1].shape == (1, 8)
    with pytest.raises(FrontendError, match="batch 3 cannot be set: input 'x0' has the fixed batch 4"):
        load_network(module((4, 8)), batch=3)


def test_unknown_shape() -> None:
    x = relax.Var("x", relax.TensorType(None, "float32", ndim=4))
    builder = relax.BlockBuilder()
    with builder.function("main", [x]):
        builder.emit_func_output(builder.emit(relax.op.nn.relu(x)))
    with pytest.raises(FrontendError, match="input 'x' has no known shape"):
        load_network(builder.get())


def test_no_main() -> None:
    with pytest.raises(FrontendError, match="no function 'main'; it has: other"):
        load_network(module((1, 4), name="other"))
    with pytest.raises(FrontendError, match="no function 'main'; it has: none"):
        load_network(tvm.IRModule())


def test_control_flow() -> None:
    x, flag = relax.Var("x", relax.TensorType((1, 4), "float32")), relax.Var("flag", relax.TensorType((), "bool"))
    branches = [relax.SeqExpr([], operation(x)) for operation in (relax.op.nn.relu, relax.op.negative)]
    builder = relax.BlockBuilder()
    with builder.function("main", [x, flag]):
        builder.emit_func_output(builder.emit(relax.If(flag, *branches)))
    with pytest.raises(FrontendError, match="control flow"):
        load_graph(builder.get())


class TestWeightsAsParameters:
    def test_given_ones_become_constants(self) -> None:
        w, b = noise(6, 5, seed=1), noise(5, seed=2)
        network = load_network(dense([w, b]))
        assert [param.name for param in network.module["main"].params] == ["x"]
        x = noise(2, 6)
        assert_close(outputs_of(network, [x]), [x @ w + b])

    def test_missing_ones_are_drawn_from_the_seed(self) -> None:
        first, again, other = (load_network(dense(), seed=seed) for seed in (1, 1, 2))
        assert same_weights(first, again)
        assert not same_weights(first, other)
        (operator,) = load_graph(dense()).operators
        assert (operator.type, operator.weight_elements) == ("dense", 35)

    def test_without_the_attribute_every_parameter_is_an_input(self) -> None:
        assert len(load_graph(dense(num_input=None)).inputs) == 3

    def test_drawn_ones_keep_activations_finite(self) -> None:
        assert np.isfinite(outputs_of(load_network(dense()), [noise(2, 6)])[0]).all()
