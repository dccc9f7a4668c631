"""Row demands of operators that move elements agree with what execution reads."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from tvm import relax
from tvm.relax import op

from tests.passes.modules import Shape, network, stepwise, weight
from tests.passes.row_reach import assert_exact, assert_images_apart, assert_sound
from tvm_fusion.graph.demand import ALL, ROW, SINGLE, RowDemand
from tvm_fusion.passes import extract

X = (1, 4, 9, 7)
Build = Callable[..., Any]


def indices(*values: Any) -> Any:
    return relax.const(np.asarray(values, np.int64))


def demands(mod: Any) -> tuple[RowDemand, ...]:
    """Those of the last operator, after checking all by execution."""
    return assert_exact(mod).operators[-1].demands


@pytest.mark.parametrize(("build", "shapes"), [
    (lambda x, y: op.concat([x, y], 1), (X, (1, 2, 9, 7))),
    (lambda x, y: op.concat([x, y], 3), (X, (1, 4, 9, 2))),
], ids=["channels", "columns"])  # fmt: skip
def test_concat_beside_the_rows_is_row_by_row(build: Build, shapes: tuple[Shape, ...]) -> None:
    assert demands(network(build, *shapes)) == (ROW, ROW)


@pytest.mark.parametrize(("build", "shapes"), [
    (lambda x, y: op.concat([x, y], 2), (X, (1, 4, 3, 7))),
    (lambda x, y: op.concat([x, y], 2), ((1, 4, 1, 7), (1, 4, 3, 7))),
    (lambda x, y: op.concat([x, y], 2), ((1, 4, 1, 7), (1, 4, 1, 7))),
    (lambda x: op.concat([weight(1, 4, 1, 7), x], 2), (X,)),
    (lambda x: op.concat([weight(1, 1, 8), x], 1), ((1, 5, 8),)),
    (lambda x, y: op.concat([x, y], 1), ((1, 5), (1, 6))),
    (lambda x, y: op.concat([x, y], 0), ((3, 5), (2, 5))),
], ids=["maps", "one row and more", "one row each", "constant", "class token", "features", "rank 2"])  # fmt: skip
def test_concat_of_rows_takes_each_operands_stretch(build: Build, shapes: tuple[Shape, ...]) -> None:
    assert_exact(network(build, *shapes))


def test_concat_needs_none_of_the_other_operands_stretch() -> None:
    first, second = demands(network(lambda x, y: op.concat([x, y], 2), X, (1, 4, 3, 7)))
    assert [first.rows(r, 9) for r in (8, 9)] == [(8, 8), (0, -1)]
    assert [second.rows(r, 3) for r in (8, 9)] == [(0, -1), (0, 0)]


def test_concat_of_a_tensor_with_itself() -> None:
    graph = assert_sound(network(lambda x: op.concat([x, op.nn.relu(x), x], 2), X))
    assert graph.operators[-1].height == 27


SLICES = [([2], [1], [8], [2]), ([2], [-3], [100], [1]), ([2], [8], [0], [-2]), ([2], [8], [-100], [-1]),
          ([-2], [2], [-1], [3]), ([2, 3], [0, 0], [1, 7], [1, 1]), ([2], [-100], [5], [1]),
          ([2], [100], [2], [-3])]  # fmt: skip


@pytest.mark.parametrize("cut", SLICES, ids=str)
def test_slice_of_rows(cut: Any) -> None:
    assert demands(network(lambda x: op.strided_slice(x, *cut), X))[0].kind == "table"


def test_slice_of_channels_is_row_by_row() -> None:
    assert demands(network(lambda x: op.strided_slice(x, [1], [0], [2], [1]), X)) == (ROW,)
    assert_exact(network(lambda x: op.strided_slice(x, [2], [1], [5], [2], assume_inbound=True), X))


@pytest.mark.parametrize(("axis", "kind"), [(2, "table"), (1, "row")])
def test_split_gives_one_operator_a_piece(axis: int, kind: str) -> None:
    def build(emit: Any, x: Any) -> Any:
        pieces = emit(op.split(emit(op.nn.relu(x)), [1, 3], axis))
        return tuple(pieces[k] for k in range(3))

    mod = stepwise(build, X)
    graph = assert_sound(mod)
    assert [operator.type for operator in graph.operators] == ["relu", "slice", "slice", "slice"]
    assert {operator.demands[0].kind for operator in graph.operators[1:]} == {kind}


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
@pytest.mark.parametrize("width", [[0, 0, 0, 0, 2, 1, 1, 3], [0, 0, 0, 0, 0, 4, 0, 0]], ids=["around", "below"])
def test_padding_of_rows(mode: str, width: list[int]) -> None:
    demand = demands(network(lambda x: op.nn.pad(x, width, pad_mode=mode), X))[0]
    rows = [demand.rows(r, 9) for r in range(9 + width[4] + width[5])]
    padding = rows[: width[4]] + rows[9 + width[4] :]
    assert all((last < first) == (mode == "constant") for first, last in padding)


@pytest.mark.parametrize(("shape", "width"), [(X, [0, 0, 1, 1, 0, 0, 2, 2]), ((1, 4), [0, 0, 1, 1])])
def test_padding_beside_the_rows(shape: Shape, width: list[int]) -> None:
    graph = assert_exact(network(lambda x: op.nn.pad(x, width), shape))
    assert graph.operators[0].demands[0] in (ROW, SINGLE)
    assert graph.warnings == ()


def test_padding_of_one_row() -> None:
    assert_exact(network(lambda x: op.nn.pad(x, [0, 0, 0, 0, 1, 1, 0, 0], pad_mode="replicate"), (1, 4, 1, 7)))


@pytest.mark.parametrize("shape", [
    (1, 36, 7), (1, 2, 2, 9, 7), (1, 4, 63), (1, 252), (1, 4, 3, 3, 7), (1, 4, 3, 21), (4, 9, 7), (1, 6, 6, 7),
    (1, 252, 1, 1), (36, 7),
], ids=str)  # fmt: skip
def test_reshape_of_a_map(shape: Shape) -> None:
    assert_sound(network(lambda x: op.reshape(x, shape), X))


@pytest.mark.parametrize(("build", "shape", "demand"), [
    (lambda x: op.reshape(x, (1, 5, 2, 4)), (1, 5, 8), ROW),
    (lambda x: op.reshape(x, (1, 5, 8, 1, 1)), (1, 5, 8), ROW),
    (lambda x: op.expand_dims(x, 1), X, ROW),
    (lambda x: op.squeeze(x, [3]), (1, 4, 9, 1), ROW),
    (lambda x: op.reshape(x, (1, 2, 2, 9, 7)), X, ROW),
], ids=["heads", "ends", "expand_dims", "squeeze", "channel groups"])  # fmt: skip
def test_reshape_that_keeps_the_rows(build: Build, shape: Shape, demand: RowDemand) -> None:
    assert demands(network(build, shape)) == (demand,)


def test_tokens_to_map_takes_a_maps_row_of_tokens() -> None:
    (demand,) = demands(network(lambda x: op.reshape(x, (1, 4, 4, 8)), (1, 16, 8)))
    assert [demand.rows(r, 16) for r in range(4)] == [(0, 3), (4, 7), (8, 11), (12, 15)]


def test_map_to_tokens_through_a_permutation() -> None:
    graph = assert_sound(network(lambda x: op.reshape(op.permute_dims(x, [0, 2, 3, 1]), (1, 16, 8)), (1, 8, 4, 4)))
    assert [graph.operators[1].demands[0].rows(r, 4) for r in (0, 3, 4, 15)] == [(0, 0), (0, 0), (1, 1), (3, 3)]


@pytest.mark.parametrize("build", [op.flatten, op.nn.batch_flatten, lambda x: op.reshape(x, (1, 4 * 9, 7, 1))])
def test_reshape_that_mixes_the_rows_is_sound(build: Build) -> None:
    assert_sound(network(build, X))


def test_flatten_of_a_map_for_a_dense_layer_needs_all_rows() -> None:
    mod = network(lambda x: op.matmul(op.reshape(op.nn.relu(x), (1, 252)), weight(252, 3)), X)
    graph = assert_sound(mod)
    assert graph.operators[-1].height == 1
    needed = [demand for operator in graph.operators[1:] for demand in operator.demands]
    assert ALL in needed


@pytest.mark.parametrize(("shape", "new"), [
    ((1, 36), (1, 4, 3, 3)), ((1, 36), (1, 9, 4)), ((1, 36, 1, 1), (1, 4, 3, 3)), ((1, 36, 1, 1), (1, 4, 3, 3, 1)),
])  # fmt: skip
def test_reshape_of_one_row_into_several(shape: Shape, new: Shape) -> None:
    assert_sound(network(lambda x: op.nn.relu(op.reshape(x, new)), shape))


def test_reshape_of_one_row_to_one_row_is_no_operator() -> None:
    graph = assert_sound(network(lambda x: op.nn.relu(op.reshape(op.nn.silu(x), (1, 36))), (1, 36, 1, 1)))
    assert [operator.type for operator in graph.operators] == ["silu", "relu"]


@pytest.mark.parametrize("order", [(0, *rest) for rest in itertools.permutations((1, 2, 3))][1:], ids=str)
def test_permute_moves_the_rows(order: tuple[int, ...]) -> None:
    graph = assert_exact(network(lambda x: op.permute_dims(x, order), X))
    assert (graph.operators[0].row_axis, graph.operators[0].demands) == (order.index(2), (ROW,))


@pytest.mark.parametrize("shape", [(1, 5, 8), (4, 9, 7)])
def test_permute_of_everything_reversed(shape: Shape) -> None:
    assert_exact(network(op.permute_dims, shape))


@pytest.mark.parametrize(("shape", "new"), [
    ((1, 4, 1, 1), X), ((1, 1, 9, 1), X), ((9, 7), (2, 1, 9, 7)), ((1, 9, 7), (1, 3, 9, 7)), ((7,), X),
], ids=str)  # fmt: skip
def test_broadcast(shape: Shape, new: Shape) -> None:
    assert_sound(network(lambda x: op.broadcast_to(x, new), shape))


@pytest.mark.parametrize(("build", "shape"), [
    (lambda x: op.take(x, indices(3, 1, 1, 0), 2), X),
    (lambda x: op.take(x, indices(3, 1, 1, 0), 1), X),
    (lambda x: op.take(x, relax.const(3, "int64"), 2), X),
    (lambda x: op.take(x, relax.const(3, "int64"), 1), X),
    (lambda x: op.take(x, relax.const(3, "int64"), 3), X),
    (lambda x: op.take(x, indices(3), 1), (1, 5, 8)),
    (lambda x: op.take(x, indices(1, 0), 1), (1, 5)),
    (lambda x: op.take(x, indices(-1, 0, 11), 2, mode="wrap"), X),
    (lambda x: op.take(x, indices(-1, 3, 11), 2, mode="clip"), X),
], ids=["rows", "channels", "one row", "one channel", "one column", "one token", "rank 2", "wrap", "clip"])  # fmt: skip
def test_take_of_constant_places(build: Build, shape: Shape) -> None:
    assert_exact(network(build, shape))


@pytest.mark.parametrize(("axis", "shape"), [(2, X), (1, X), (2, (1, 5, 1, 3))])
def test_take_of_a_table_of_places(axis: int, shape: Shape) -> None:
    assert_sound(network(lambda x: op.take(x, indices([0, 0], [0, 0]), axis), shape))


@pytest.mark.parametrize(("axis", "shape"), [(0, (1, 5)), (1, (1, 5)), (0, (5,)), (0, (1, 5, 3))])
def test_embedding_needs_the_indices_of_its_row(axis: int, shape: Shape) -> None:
    graph = assert_sound(network(lambda x: op.take(weight(7, 4), x, axis), shape, dtype="int64"))
    assert graph.operators[0].type == "embedding"
    assert graph.operators[0].weight_elements == 28


@pytest.mark.parametrize("axis", [0, 1, 2, 3, 4, -1])
def test_stack_beside_the_rows(axis: int) -> None:
    graph = assert_exact(network(lambda x, y: op.stack([x, y], axis), X, X))
    assert graph.operators[0].demands == (ROW, ROW)


def test_stack_of_one_row_tensors() -> None:
    graph = assert_sound(network(lambda x, y: op.stack([x, y], 1), (1, 5), (1, 5)))
    assert (graph.operators[0].demands, graph.warnings) == ((SINGLE, SINGLE), ())


def test_pixel_shuffle_takes_a_row_for_every_few() -> None:
    """TVM cannot execute it, so the demand is written out."""
    operator = extract(network(lambda x: op.nn.pixel_shuffle(x, 2), X)).graph.operators[0]
    assert (operator.shape, operator.row_axis) == ((1, 1, 18, 14), 2)
    assert [operator.demands[0].rows(r, 9) for r in (0, 1, 2, 17)] == [(0, 0), (0, 0), (1, 1), (8, 8)]


@pytest.mark.parametrize("build", [
    lambda x: op.concat([x, op.nn.relu(x)], 2),
    lambda x: op.strided_slice(x, [2], [1], [8], [2]),
    lambda x: op.reshape(op.permute_dims(x, [0, 2, 3, 1]), (2, 63, 4)),
    lambda x: op.take(x, indices(3, 1), 2),
    lambda x: op.nn.pad(x, [0, 0, 0, 0, 2, 1, 1, 3]),
], ids=["concat", "slice", "tokens", "take", "pad"])  # fmt: skip
def test_images_of_a_batch_stay_apart(build: Build) -> None:
    mod = network(build, (2, 4, 9, 7))
    assert_sound(mod)
    assert_images_apart(mod)
