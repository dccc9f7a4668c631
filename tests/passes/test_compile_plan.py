"""compile_plan, and running what it makes beside the unfused network."""

from __future__ import annotations

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import network, run
from tests.passes.networks import X, named, plan_of, whole
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import CompileError, PlanError
from tvm_fusion.graph.graph import mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import compile_plan, extract, group_memory
from tvm_fusion.passes.compile_plan import lower_plan
from tvm_fusion.passes.execute import compare_with_unfused, largest_relative_error, random_inputs, run_executable


@pytest.mark.parametrize("name", ["squeeze and excite", "split and shuffle", "tuple of an operator"])
def test_results_are_those_of_the_unfused_network(name: str) -> None:
    mod = named(name)
    graph = extract(mod).graph
    assert compare_with_unfused(mod, whole(graph)) < 1e-4
    assert compare_with_unfused(mod, plan_of(graph)) < 1e-4


def test_number_of_groups_shows_in_the_executable() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    for plan in (plan_of(graph), whole(graph)):
        text = compile_plan(mod, plan).as_text()
        assert [f"fused_group_{k}" in text for k in range(len(plan.groups) + 1)] == [True] * len(plan.groups) + [False]


def test_groups_of_several_schemes() -> None:
    """One in bands, one in line buffers, one layer by layer; tensors between them lie by rows."""
    mod = named("residual")
    graph = extract(mod).graph
    bands = Group((0, 1), "brr", {"bands": 3, "kept": [0]})
    plan = PartitionPlan((bands, Group((2,), "layer"), Group((3, 4), "lbdf")))
    lowered = lower_plan(mod, plan, OWN_WIDTHS)
    memory = group_memory(lowered)
    costs = [Oracle(graph, OWN_WIDTHS).cost_in(mask_of(g.operators), g.scheme, g.parameters) for g in plan.groups]
    assert {found.group: (found.buffer_bytes, found.dram_bytes) for found in memory.values()} == {
        0: (costs[0].buffer_bytes, costs[0].dram_bytes),
        2: (costs[2].buffer_bytes, costs[2].dram_bytes),
    }
    shapes = [[int(size) for size in lowered[f"fused_group_{k}"].params[-1].shape] for k in range(3)]
    assert shapes == [[1, 8, 32], [1, 8, 32], list(X)]
    inputs = random_inputs(mod)
    found = run_executable(compile_plan(mod, plan), inputs)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-5


def test_wrong_plan_is_a_plan_error() -> None:
    with pytest.raises(PlanError, match="is in no group"):
        compile_plan(named("residual"), PartitionPlan((Group((0,)),)))


@pytest.mark.parametrize("target", ["no-such-target", "", "llvm -mcpu"])
def test_unknown_target_is_named(target: str) -> None:
    mod = named("residual")
    with pytest.raises(CompileError, match="target"):
        compile_plan(mod, plan_of(extract(mod).graph), target=target)


def test_a_target_itself_is_as_good_as_its_name() -> None:
    mod = named("residual")
    target = tvm.target.Target({"kind": "llvm", "opt-level": 1})
    executable = compile_plan(mod, plan_of(extract(mod).graph), target=target)
    inputs = random_inputs(mod)
    assert largest_relative_error(run_executable(executable, inputs), run(mod, inputs)) < 1e-5
    shuffled = network(lambda x: op.nn.pixel_shuffle(x, 2), X)
    with pytest.raises(CompileError, match=r"""cannot compile the network for '{"kind":"llvm".*"opt-level":1"""):
        compile_plan(shuffled, plan_of(extract(shuffled).graph), target=target)


def test_what_tvm_cannot_build_is_a_compile_error_in_one_line() -> None:
    """TVM has no lowering of pixel_shuffle."""
    mod = network(lambda x: op.nn.pixel_shuffle(x, 2), X)
    with pytest.raises(CompileError, match="TVM cannot compile the network for 'llvm'") as caught:
        compile_plan(mod, plan_of(extract(mod).graph))
    assert "\n" not in str(caught.value)


def test_random_inputs_are_repeatable_and_of_the_right_kind() -> None:
    mod = network(lambda x: op.add(x, x), X, dtype="int32")
    (first,), (again,), (other,) = (random_inputs(mod, seed) for seed in (1, 1, 2))
    assert first.dtype == np.int32
    assert first.shape == X
    assert (first == again).all()
    assert not (first == other).all()


@pytest.mark.parametrize(("found", "expected", "error"), [
    ([1.0, 2.0], [1.0, 2.0], 0.0), ([1.0, 1.0], [1.0, 2.0], 0.5), ([0.0, 0.5], [0.0, 0.0], 0.5),
    ([np.nan, 2.0], [1.0, 2.0], np.inf), ([np.inf, 2.0], [1.0, 2.0], np.inf), ([1.0], [1.0, 2.0], np.inf),
])  # fmt: skip
def test_largest_relative_error(found: list[float], expected: list[float], error: float) -> None:
    assert largest_relative_error([np.asarray(found)], [np.asarray(expected)]) == error


def test_nothing_to_compare_where_the_network_is_undefined() -> None:
    mod = network(lambda x: op.log(op.subtract(x, relax.const(100.0))), X)
    with pytest.raises(CompileError, match="undefined results"):
        compare_with_unfused(mod, plan_of(extract(mod).graph))


def test_nested_tuples_come_out_flat() -> None:
    mod = network(lambda x: (op.exp(x), relax.Tuple([op.nn.relu(x), x])), X)
    outputs = run_executable(compile_plan(mod, plan_of(extract(mod).graph)), random_inputs(mod))
    assert [array.shape for array in outputs] == [X] * 3
