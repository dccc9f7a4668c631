"""Row demands of elementwise operators, products, norms and reductions agree with what execution reads."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from tests.passes.modules import Shape, network, stepwise, weight
from tests.passes.row_reach import assert_exact, assert_images_apart, assert_sound
from tvm_fusion.graph.demand import ACCUMULATE, ALL, ROW, SINGLE, RowDemand

X = (1, 4, 9, 7)
TOKENS = (1, 5, 8)
Build = Callable[..., Any]


def demands(build: Build, *shapes: Shape) -> tuple[RowDemand, ...]:
    """Those of the last operator, after checking all by execution."""
    return assert_exact(network(build, *shapes)).operators[-1].demands


@pytest.mark.parametrize(("build", "shapes", "wanted"), [
    (op.add, (X, X), (ROW, ROW)),
    (op.add, (X, (1, 4, 1, 1)), (ROW, SINGLE)),
    (op.add, ((1, 4, 1, 7), X), (SINGLE, ROW)),
    (op.add, (X, (4, 9, 7)), (ROW, ROW)),
    (op.add, (X, (7,)), (ROW, SINGLE)),
    (op.add, ((1, 4, 1, 7), (1, 1, 9, 1)), (SINGLE, ROW)),
    (lambda x, y: op.where(op.greater(x, y), x, y), (X, X), (ROW, ROW, ROW)),
    (op.log_add_exp, (X, X), (ROW, ROW)),
], ids=["equal", "channels", "one row first", "lower rank", "columns", "both", "where", "log_add_exp"])  # fmt: skip
def test_elementwise(build: Build, shapes: tuple[Shape, ...], wanted: tuple[RowDemand, ...]) -> None:
    graph = assert_exact(network(build, *shapes))
    assert graph.operators[-1].demands == wanted
    assert graph.operators[-1].pointwise


@pytest.mark.parametrize(("build", "shapes"), [
    (op.add, (X, (9, 7))),
    (op.add, ((1, 9, 9, 9), (1, 9, 9))),
    (lambda x: op.add(x, weight(1, 4, 9, 1)), ((1, 4, 1, 7),)),
    (lambda x: op.add(weight(1, 4, 9, 1), x), ((1, 4, 1, 7),)),
    (lambda x: op.add(x, weight(1, 4, 9, 7)), ((7,),)),
    (lambda x: op.multiply(x, weight(1, 5, 1)), ((1, 8),)),
], ids=["rank 2", "tokens to map", "constant rows", "constant first", "constant map", "constant tokens"])  # fmt: skip
def test_broadcasts_of_lower_rank_are_sound(build: Build, shapes: tuple[Shape, ...]) -> None:
    assert_sound(network(build, *shapes))


@pytest.mark.parametrize("build", [
    lambda x: op.nn.prelu(x, weight(4), 1), lambda x: op.nn.prelu(x, weight(9), 2), op.nn.leakyrelu, op.nn.selu,
    op.nn.softplus, lambda x: op.astype(x, "float16"), lambda x: op.clip(x, -1, 1),
], ids=["prelu", "prelu of rows", "leakyrelu", "selu", "softplus", "astype", "clip"])  # fmt: skip
def test_functions_of_one_tensor(build: Build) -> None:
    graph = assert_exact(network(build, X))
    assert (graph.operators[0].demands, graph.operators[0].pointwise, graph.warnings) == ((ROW,), True, ())


@pytest.mark.parametrize(("build", "shape", "wanted"), [
    (lambda x: op.nn.softmax(x, 1), X, ROW),
    (lambda x: op.nn.softmax(x, 2), X, ALL),
    (lambda x: op.nn.softmax(x, -1), TOKENS, ROW),
    (lambda x: op.nn.log_softmax(x, -1), TOKENS, ROW),
    (lambda x: op.nn.layer_norm(x, weight(8), weight(8), axes=-1), TOKENS, ROW),
    (lambda x: op.nn.layer_norm(x, weight(5, 8), weight(5, 8), axes=[1, 2]), TOKENS, ALL),
    (lambda x: op.nn.layer_norm(x, weight(4, 9, 7), weight(4, 9, 7), axes=[1, 2, 3]), X, ALL),
    (lambda x: op.nn.rms_norm(x, weight(8), axes=-1), TOKENS, ROW),
    (lambda x: op.nn.group_norm(x, weight(4), weight(4), 2, 1, [2, 3]), X, ALL),
    (lambda x: op.nn.group_norm(x, weight(8), weight(8), 2, 2, []), TOKENS, ROW),
    (lambda x: op.nn.instance_norm(x, weight(4), weight(4), 1, [2, 3]), X, ALL),
    (lambda x: op.cumsum(x, 1), X, ROW),
    (lambda x: op.flip(x, 3), X, ROW),
], ids=["softmax of channels", "softmax of rows", "softmax of features", "log_softmax", "layer_norm",
        "layer_norm of rows", "layer_norm of a map", "rms_norm", "group_norm", "group_norm of a token",
        "instance_norm", "cumsum", "flip"])  # fmt: skip
def test_norms_and_softmax(build: Build, shape: Shape, wanted: RowDemand) -> None:
    assert demands(build, shape) == (wanted,)


@pytest.mark.parametrize("build", [
    lambda x: op.cumsum(x, 2), lambda x: op.cumprod(x, None), lambda x: op.flip(x, 2), lambda x: op.sort(x, 2),
    lambda x: op.argsort(x, 2), lambda x: op.sort(x, 1),
], ids=["cumsum", "cumprod", "flip", "sort", "argsort", "sort of channels"])  # fmt: skip
def test_along_the_rows_is_sound(build: Build) -> None:
    assert_sound(network(build, X))


def test_statistics_that_are_an_input_are_held_whole() -> None:
    graph = assert_sound(network(lambda x, g: op.nn.layer_norm(x, g, g, axes=[-1]), TOKENS, (8,)))
    assert graph.operators[0].demands == (ROW, SINGLE)


@pytest.mark.parametrize(("build", "shape", "wanted"), [
    (lambda x: op.matmul(x, weight(8, 3)), TOKENS, ROW),
    (lambda x: op.add(op.matmul(x, weight(8, 3)), weight(3)), TOKENS, ROW),
    (lambda x: op.matmul(x, weight(8, 3)), (1, 8), SINGLE),
    (lambda x: op.matmul(weight(1, 4, 5), x), TOKENS, ALL),
    (lambda x: op.matmul(weight(4, 5), x), TOKENS, ALL),
    (lambda x: op.matmul(weight(1, 1, 6, 9), x), X, ALL),
], ids=["tokens", "bias", "one row", "mixes tokens", "mixes tokens, rank 2", "mixes rows"])  # fmt: skip
def test_dense(build: Build, shape: Shape, wanted: RowDemand) -> None:
    graph = assert_exact(network(build, shape))
    assert len(graph) == 1
    assert (graph.operators[0].type, graph.operators[0].demands) == ("dense", (wanted,))


@pytest.mark.parametrize(("build", "shapes"), [
    (op.matmul, (TOKENS, (1, 8, 3))),
    (op.matmul, ((1, 3, 5, 8), (1, 3, 8, 6))),
    (op.matmul, ((1, 1, 5, 8), (1, 3, 8, 6))),
    (op.matmul, ((5, 8), (1, 3, 8, 6))),
    (op.matmul, ((1, 1, 8), (1, 8, 6))),
    (op.matmul, ((8,), (1, 8, 6))),
    (op.matmul, ((5, 8, 3), (5, 3, 4))),
    (lambda x: op.matmul(x, weight(8)), (TOKENS,)),
    (lambda x: op.matmul(x, x), ((1, 5, 5),)),
    (lambda x: op.matmul(x, x), ((1, 3, 5, 5),)),
    (lambda x: op.matmul(x, op.permute_dims(x, [0, 2, 1])), (TOKENS,)),
    (lambda x: op.matmul(op.permute_dims(x, [0, 2, 1]), weight(5, 4)), (TOKENS,)),
    (lambda x, y: op.matmul(op.permute_dims(x, [0, 2, 1, 3]), op.permute_dims(y, [0, 2, 3, 1])),
     ((1, 5, 3, 8), (1, 6, 3, 8))),
], ids=["tokens", "heads", "one head", "rank 2 first", "one row", "vector first", "rows are a batch", "vector",
        "itself", "itself with heads", "gram", "over the tokens", "scores"])  # fmt: skip
def test_products_are_sound(build: Build, shapes: tuple[Shape, ...]) -> None:
    assert_sound(network(build, *shapes))


def test_product_of_tokens_holds_the_right_operand_whole() -> None:
    graph = assert_exact(network(op.matmul, TOKENS, (1, 8, 3)))
    assert (graph.operators[0].type, graph.operators[0].demands) == ("matmul", (ROW, ALL))


@pytest.mark.parametrize(("axes", "keep", "wanted"), [
    ([2, 3], True, ACCUMULATE), ([2, 3], False, ACCUMULATE), ([2], True, ACCUMULATE), ([2], False, ACCUMULATE),
    (None, True, ACCUMULATE), (None, False, ACCUMULATE), ([1], True, ROW), ([1], False, ROW), ([3], True, ROW),
])  # fmt: skip
@pytest.mark.parametrize("reduce", [op.mean, op.max], ids=["mean", "max"])
def test_reduction(reduce: Build, axes: Any, keep: bool, wanted: RowDemand) -> None:
    assert demands(lambda x: reduce(x, axes, keep), X) == (wanted,)


@pytest.mark.parametrize("reduce", [op.sum, op.min, op.prod, op.variance, op.std])
def test_reductions_of_other_kinds(reduce: Build) -> None:
    assert demands(lambda x: reduce(x, [2, 3], True), X) == (ACCUMULATE,)
    assert demands(lambda x: reduce(x, [1], False), X) == (ROW,)


@pytest.mark.parametrize("axis", [1, 2, None])
def test_place_of_the_largest(axis: int | None) -> None:
    graph = assert_sound(network(lambda x: op.argmax(x, axis), X))
    assert graph.operators[0].type == "argmax"


def test_mean_over_the_map_is_global_pooling() -> None:
    graph = assert_exact(network(lambda x: op.mean(x, [2, 3], True), X))
    assert graph.operators[0].type == "global_avg_pool2d"


@pytest.mark.parametrize(("axes", "shape"), [([2, 3], (1, 4, 1, 7)), ([1], (1, 36)), ([1], TOKENS), ([-1], TOKENS)])
def test_reduction_of_other_shapes(axes: list[int], shape: Shape) -> None:
    assert_exact(network(lambda x: op.mean(x, axes, False), shape))


def heads(x: Any) -> Any:
    return op.reshape(x, (1, int(x.ty.shape[1]), 2, 4))


def test_attention_is_row_by_row_in_the_query() -> None:
    def build(q: Any, k: Any, v: Any) -> Any:
        return op.nn.attention(heads(q), heads(k), heads(v))

    graph = assert_exact(network(build, TOKENS, (1, 6, 8), (1, 6, 8)))
    assert graph.operators[-1].demands == (ROW, ALL, ALL)
    assert graph.operators[-1].macs == 2 * 5 * 6 * (4 + 4)


@pytest.mark.parametrize(("build", "shapes"), [
    (lambda q: op.nn.attention(heads(q), heads(q), heads(q)), (TOKENS,)),
    (lambda q: op.nn.attention(q, q, q), ((1, 5, 2, 4),)),
    (lambda q, k, v: op.nn.attention(q, k, v, causal_mask="TopLeft"), ((1, 5, 2, 4),) * 3),
    (op.nn.attention, ((1, 5, 2, 4), (1, 6, 2, 4), (1, 6, 2, 4), (1, 2, 5, 6))),
], ids=["self", "inputs", "causal", "bias"])  # fmt: skip
def test_attention_of_other_kinds_is_sound(build: Build, shapes: tuple[Shape, ...]) -> None:
    assert_sound(network(build, *shapes))


def attention_by_hand(emit: Any, x: Any) -> Any:
    """Self-attention of two heads as front ends import it: dense layers, reshapes, products, softmax."""
    q, k, v = (emit(op.matmul(x, weight(8, 8, seed=s))) for s in range(3))
    q = op.permute_dims(heads(q), [0, 2, 1, 3])
    k = op.permute_dims(heads(k), [0, 2, 3, 1])
    v = op.permute_dims(heads(v), [0, 2, 1, 3])
    scores = op.multiply(op.matmul(q, k), relax.const(0.5))
    mixed = op.permute_dims(op.matmul(op.nn.softmax(scores, -1), v), [0, 2, 1, 3])
    return op.add(x, op.matmul(op.reshape(mixed, TOKENS), weight(8, 8, seed=4)))


def test_attention_by_hand() -> None:
    """Queries stay rows all the way through; keys and values are held whole."""
    graph = assert_sound(stepwise(attention_by_hand, TOKENS))
    assert graph.warnings == ()
    assert all(operator.height == 5 for operator in graph.operators)
    scores, mixed = (operator for operator in graph.operators if operator.type == "matmul")
    assert [sorted(d.kind for d in operator.demands) for operator in (scores, mixed)] == [["all", "row"]] * 2


@pytest.mark.parametrize("build", [
    lambda x: op.tile(x, (1, 1, 2, 1)), lambda x: op.repeat(x, 2, 2), op.tril,
    lambda x: op.topk(x, 2, 2, ret_type="values"), lambda x: op.einsum([x, weight(1, 4, 7, 3)], "bchw,bcwk->bchk"),
    lambda x: op.gather_elements(x, relax.const(np.zeros((1, 4, 2, 7), np.int64)), 2),
    lambda x: op.nn.batch_norm(x, *(op.mean(x, [0, 2, 3]) for _ in range(4)), axis=1, training=False)[0],
], ids=["tile", "repeat", "tril", "topk", "einsum", "gather_elements", "batch_norm of inputs"])  # fmt: skip
def test_operators_without_a_rule_need_all_rows_and_warn(build: Build) -> None:
    graph = assert_sound(network(build, X))
    assert "has no row rule" in graph.warnings[0]
    (unknown,) = (operator for operator in graph.operators if repr(operator.name) in graph.warnings[0])
    assert ALL in unknown.demands
    assert ROW not in unknown.demands


@pytest.mark.parametrize("build", [
    lambda x: op.add(x, op.mean(x, [2, 3], True)),
    lambda x: op.matmul(x, weight(7, 3)),
    lambda x: op.nn.softmax(x, 2),
    lambda x: op.matmul(x, op.permute_dims(x, [0, 1, 3, 2])),
], ids=["squeeze and excite", "dense", "softmax", "gram"])  # fmt: skip
def test_images_of_a_batch_stay_apart(build: Build) -> None:
    mod = network(build, (2, 4, 9, 7))
    assert_sound(mod)
    assert_images_apart(mod)
