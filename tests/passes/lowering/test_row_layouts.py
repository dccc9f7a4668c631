"""row_layouts: tensors that lowered groups alone hand on lie by rows; what others see keeps its shape."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.lowering.lowered import ROOMY, calls, outputs
from tests.passes.modules import Shape, conv, run, stepwise, weight
from tests.passes.networks import plan_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.fuse_groups import substitute
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings
from tvm_fusion.passes.verify_memory import VerifyMemory

X: Shape = (1, 4, 6, 5)
MAP = [1, 4, 6, 5]
ROWS = [1, 6, 20]  # images, rows, elements of a row
Build = Callable[..., Any]


def chain(emit: Any, x: Any) -> Any:
    return op.nn.relu(emit(conv(emit(op.nn.relu(emit(conv(x, 4)))), 4, seed=1)))


def branches(emit: Any, x: Any) -> Any:
    first = emit(conv(x, 4))
    left, right = emit(conv(first, 4, seed=1)), emit(op.nn.max_pool2d(first, 3, 1, 1))
    return op.add(left, right)


def returned_too(emit: Any, x: Any) -> Any:
    first, second = emit(conv(x, 4)), emit(conv(x, 4, seed=1))
    return op.add(first, second), first


def returned_by_another_name(emit: Any, x: Any) -> Any:
    first = emit(conv(x, 4))
    name = emit(first)
    return relax.Tuple([emit(op.nn.relu(first)), relax.Tuple([name])])


def two_results(emit: Any, x: Any) -> Any:
    """Operators 0 and 1, of which one group returns both results."""
    first = emit(conv(x, 4))
    second = emit(op.nn.relu(first))
    return op.add(emit(op.nn.max_pool2d(first, 3, 1, 1)), emit(conv(second, 4, seed=1)))


def one_of_two_returned(emit: Any, x: Any) -> Any:
    first = emit(conv(x, 4))
    second = emit(op.nn.relu(first))
    return second, emit(conv(first, 4, seed=1)), emit(conv(second, 4, seed=2))


def reshaped(emit: Any, x: Any) -> Any:
    """An operator of its own, as the elements of a row go to other rows."""
    first = emit(conv(x, 4))
    return op.matmul(emit(op.reshape(first, (1, 120))), weight(120, 3)), emit(conv(first, 2, seed=1))


def view_between(emit: Any, x: Any) -> Any:
    flat = emit(op.squeeze(emit(op.mean(emit(conv(x, 4)), [2, 3], True)), [2, 3]))
    return op.matmul(flat, weight(4, 3))


def view_and_whole(emit: Any, x: Any) -> Any:
    mean = emit(op.mean(emit(conv(x, 4)), [2, 3], True))
    return op.matmul(emit(op.squeeze(mean, [2, 3])), weight(4, 3)), emit(conv(mean, 2, kernel=1, seed=1))


def tvm_between(emit: Any, x: Any) -> Any:
    """TVM has no single function for topk."""
    best = emit(emit(op.topk(emit(conv(x, 4)), 5, 3, ret_type="both"))[0])
    return op.nn.relu(emit(conv(best, 4, seed=1)))


def tvm_beside(emit: Any, x: Any) -> Any:
    first = emit(conv(x, 4))
    best = emit(emit(op.topk(first, 5, 3, ret_type="both"))[0])
    return op.add(best, emit(conv(first, 4, seed=1)))


def without_rows(emit: Any, x: Any) -> Any:
    mean = emit(op.mean(emit(conv(x, 4)), [2, 3], False))
    return op.matmul(mean, weight(4, 3))


def tokens(emit: Any, x: Any) -> Any:
    first = emit(op.matmul(x, weight(8, 6)))
    return op.add(emit(op.nn.softmax(first, -1)), emit(op.nn.relu(first)))


def attention(emit: Any, x: Any) -> Any:
    q, k = emit(op.matmul(x, weight(8, 6))), emit(op.matmul(x, weight(8, 6, seed=1)))
    return op.nn.softmax(emit(op.matmul(q, emit(op.permute_dims(k, [0, 2, 1])))), -1)


# Groups of several operators (the others are alone), and the shapes of the results of every group.
CASES: dict[str, tuple[Build, Shape, tuple[tuple[int, ...], ...], list[list[list[int]]]]] = {
    "chain": (chain, X, ((0, 1), (2, 3)), [[ROWS], [MAP]]),
    "chain of single operators": (chain, X, (), [[ROWS], [ROWS], [ROWS], [MAP]]),
    "one tensor read by two groups": (branches, X, (), [[ROWS], [ROWS], [ROWS], [MAP]]),
    "read by a group and returned": (returned_too, X, (), [[MAP], [ROWS], [MAP]]),
    "returned by another name, in a tuple": (returned_by_another_name, X, (), [[MAP], [MAP]]),
    "two results of one group": (two_results, X, ((0, 1),), [[ROWS, ROWS], [ROWS], [ROWS], [MAP]]),
    "one of two results returned": (one_of_two_returned, X, ((0, 1),), [[ROWS, MAP], [MAP], [MAP]]),
    "to other rows": (reshaped, X, (), [[ROWS], [[1, 120, 1]], [[1, 2, 6, 5]], [[1, 3]]]),
    "view between": (view_between, X, (), [[ROWS], [[1, 4]], [[1, 3]]]),
    # The mean returns one tensor as two shapes and so is TVM's, which reads the first convolution.
    "view of what another group reads whole": (view_and_whole, X, (), [[MAP], [[1, 2, 1, 1]], [[1, 3]]]),
    "left to TVM between two": (tvm_between, X, (), [[MAP], [ROWS], [MAP]]),
    "left to TVM beside another": (tvm_beside, X, (), [[MAP], [ROWS], [MAP]]),
    "no rows": (without_rows, X, (), [[ROWS], [[1, 4]], [[1, 3]]]),
    "images": (chain, (2, 4, 6, 5), ((0, 1),), [[[2, 6, 20]], [[2, 6, 20]], [[2, 4, 6, 5]]]),
    "one row": (chain, (1, 4, 1, 5), ((0, 1), (2, 3)), [[[1, 1, 20]], [[1, 4, 1, 5]]]),
    "tokens": (tokens, (2, 5, 8), (), [[[2, 5, 6]], [[2, 5, 6]], [[2, 5, 6]], [[2, 5, 6]]]),
}  # fmt: skip


def lowered(mod: tvm.IRModule, plan: PartitionPlan, vector_bytes: int = 16) -> tvm.IRModule:
    """With groups that TVM takes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", LoweringWarning)
        return VerifyMemory()(LowerLineBuffer(vector_bytes=vector_bytes)(FuseByPlan(plan, ROOMY)(mod)))


def result_shapes(mod: tvm.IRModule) -> list[list[list[int]]]:
    """Of every lowered function, in the order of the calls."""
    found = []
    for call in calls(mod).values():
        types = call.ty.fields if isinstance(call.ty, relax.TupleType) else [call.ty]
        found.append([[int(size) for size in ty.shape] for ty in types])
    return found


def check_results(mod: tvm.IRModule, rows: tvm.IRModule) -> None:
    relax.analysis.well_formed(rows)
    inputs = random_inputs(mod)
    assert largest_relative_error(outputs(rows, inputs), run(mod, inputs)) < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_results_that_lie_by_rows(name: str) -> None:
    build, shape, groups, expected = CASES[name]
    mod = stepwise(build, shape)
    rows = lowered(mod, plan_of(extract(mod).graph, *groups))
    assert result_shapes(rows) == expected
    check_results(mod, rows)


@pytest.mark.parametrize("name", ["chain", "two results of one group", "one of two results returned", "images"])
def test_layers_hand_on_by_rows_as_well(name: str) -> None:
    """Single operators as layers, beside groups of LBDF."""
    build, shape, groups, expected = CASES[name]
    mod = stepwise(build, shape)
    plan = plan_of(extract(mod).graph, *groups)
    layers = tuple(Group(g.operators, "layer") if len(g.operators) == 1 else g for g in plan.groups)
    rows = lowered(mod, PartitionPlan(layers), 64)
    assert result_shapes(rows) == expected
    check_results(mod, rows)


def test_parameters_have_the_shapes_of_what_is_handed_on() -> None:
    build, shape, groups, _ = CASES["two results of one group"]
    mod = stepwise(build, shape)
    rows = lowered(mod, plan_of(extract(mod).graph, *groups))
    made = [[int(size) for size in rows[name].params[0].shape] for name in calls(rows)]
    assert made == [MAP, ROWS, ROWS, ROWS]


def test_transposed_operand_between_groups() -> None:
    """k is read as another shape than it is made in: q alone lies by rows."""
    mod = stepwise(attention, (1, 5, 8))
    rows = lowered(mod, plan_of(extract(mod).graph))
    check_results(mod, rows)


def pair_and_reader(emit: Any, x: Any) -> Any:
    """Operators 0 and 1, of which one group returns both results; the first is read by operator 2."""
    first = emit(conv(x, 4))
    second = emit(op.nn.relu(first))
    return first, second, emit(conv(first, 4, seed=1))


def returning_tuples(grouped: tvm.IRModule, how: str) -> tvm.IRModule:
    """The grouped module of pair_and_reader, its main with the variable of the group's tuple as a result."""
    function = grouped["main"]
    pair, *rest = list(bindings(function))
    third = next(binding for binding in rest if isinstance(binding.value, relax.Call))
    others = {var: found for var, found in grouped.functions.items() if var.name_hint != "main"}
    builder = relax.BlockBuilder(tvm.IRModule(others))
    values: dict[Any, Any] = {}
    with builder.function("main", list(function.params)):
        with builder.dataflow():
            values[pair.var] = returned = builder.emit_output(pair.value)
            if how == "by another name":
                values[pair.var] = builder.emit(returned)
            for binding in rest[: rest.index(third)]:
                values[binding.var] = builder.emit(substitute(binding.value, values))
            output = builder.emit_output(substitute(third.value, values))
        builder.emit_func_output(relax.Tuple([returned, output]) if how == "in a tuple" else returned)
    return builder.get()


@pytest.mark.parametrize("how", ["itself", "by another name", "in a tuple"])
def test_tuple_of_results_that_main_returns(how: str) -> None:
    mod = stepwise(pair_and_reader, X)
    grouped = returning_tuples(FuseByPlan(plan_of(extract(mod).graph, (0, 1)), ROOMY)(mod), how)
    rows = VerifyMemory()(LowerLineBuffer(vector_bytes=16)(grouped))
    assert result_shapes(rows) == [[MAP, MAP], [MAP]]
    assert str(rows["main"].ret_ty) == str(grouped["main"].ret_ty)
    inputs = random_inputs(mod)
    found = outputs(rows, inputs)
    assert largest_relative_error(found, run(mod, inputs)[: len(found)]) < 1e-5
