"""VerifyPlan accepts what FuseByPlan made and names what is wrong with anything else."""

from __future__ import annotations

from typing import Any

import pytest
import tvm
from tvm import relax

from tests.passes.modules import copied, network
from tests.passes.networks import NETWORKS, X, named, plan_of, whole
from tvm_fusion.errors import PlanError
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, VerifyPlan, extract
from tvm_fusion.passes.attributes import BUFFER_BYTES, GROUP, OPERATORS
from tvm_fusion.passes.fuse_groups import GroupFunction, fuse_groups
from tvm_fusion.passes.relax_tools import bindings


@pytest.fixture(scope="module")
def residual() -> tvm.IRModule:
    return named("residual")


@pytest.fixture(scope="module")
def plan(residual: tvm.IRModule) -> PartitionPlan:
    return plan_of(extract(residual).graph, (0, 1), (2, 3))


@pytest.fixture(scope="module")
def grouped(residual: tvm.IRModule, plan: PartitionPlan) -> tvm.IRModule:
    return FuseByPlan(plan)(residual)


def changed(mod: tvm.IRModule, name: str, function: Any) -> tvm.IRModule:
    result = tvm.IRModule(dict(mod.functions.items()))
    result[name] = function
    return result


@pytest.mark.parametrize("name", NETWORKS)
def test_accepts_what_fuse_by_plan_made(name: str) -> None:
    mod = named(name)
    graph = extract(mod).graph
    for chosen in (plan_of(graph), whole(graph)):
        made = FuseByPlan(chosen)(mod)
        tvm.ir.assert_structural_equal(VerifyPlan(chosen)(made), made)


def test_accepts_it_after_fuse_tir(grouped: tvm.IRModule, plan: PartitionPlan) -> None:
    lowered = LowerGroups()(grouped)
    tvm.ir.assert_structural_equal(VerifyPlan(plan)(lowered), lowered)


def test_accepts_it_after_tvm_has_renamed_the_result(grouped: tvm.IRModule, plan: PartitionPlan) -> None:
    VerifyPlan(plan)(relax.transform.CanonicalizeBindings()(grouped))


def test_accepts_groups_that_changed_the_order_of_independent_operators() -> None:
    """The pieces of a split stand before the branches in the network, and with their readers in the groups."""
    mod = named("split and shuffle")
    graph = extract(mod).graph
    last = len(graph) - 1
    groups = plan_of(graph, (1, 2, 3), tuple(range(4, last + 1)))
    plan = PartitionPlan(groups.groups, {"graph_fingerprint": graph.fingerprint})
    for made in (plan, PartitionPlan(tuple(reversed(plan.groups)), plan.metadata)):
        VerifyPlan(made)(FuseByPlan(made)(mod))


def test_refuses_functions_that_changed_places(residual: tvm.IRModule) -> None:
    """Each says that it holds one operator of the plan, which is another one's."""
    plan = plan_of(extract(residual).graph)
    made = FuseByPlan(plan)(residual)
    first, second = made["fused_group_0"], made["fused_group_1"]
    wrong = changed(made, "fused_group_0", first.with_attr(OPERATORS, [1]))
    wrong = changed(wrong, "fused_group_1", second.with_attr(OPERATORS, [0]))
    with pytest.raises(PlanError, match="do not hold the operators that they say"):
        VerifyPlan(plan)(wrong)


def test_leaves_its_input_as_it_is(grouped: tvm.IRModule, plan: PartitionPlan) -> None:
    before = copied(grouped)
    VerifyPlan(plan)(grouped)
    tvm.ir.assert_structural_equal(grouped, before)


@pytest.mark.parametrize("lower", [False, True])
@pytest.mark.parametrize(("groups", "message"), [
    (((0, 1), (2, 3, 4)), "has 3 group functions; the plan has 2"),
    (((0,), (1, 2, 3)), "says that it holds operators"),
])  # fmt: skip
def test_refuses_another_plan(
    residual: tvm.IRModule, grouped: tvm.IRModule, lower: bool, groups: Any, message: str
) -> None:
    other = plan_of(extract(residual).graph, *groups)
    with pytest.raises(PlanError, match=message):
        VerifyPlan(other)(LowerGroups()(grouped) if lower else grouped)


def test_refuses_a_module_without_groups(residual: tvm.IRModule, plan: PartitionPlan) -> None:
    with pytest.raises(PlanError, match="has 0 group functions; the plan has 3"):
        VerifyPlan(plan)(residual)


def test_refuses_the_plan_of_another_network(grouped: tvm.IRModule, plan: PartitionPlan) -> None:
    other = PartitionPlan(plan.groups, {"graph_fingerprint": "sha256:other"})
    with pytest.raises(PlanError, match="another network"):
        VerifyPlan(other)(grouped)


@pytest.mark.parametrize("claimed", [[0], [0, 1, 2], []])
def test_refuses_a_wrong_attribute(grouped: tvm.IRModule, plan: PartitionPlan, claimed: list[int]) -> None:
    wrong = changed(grouped, "fused_group_0", grouped["fused_group_0"].with_attr(OPERATORS, claimed))
    with pytest.raises(PlanError, match="'fused_group_0' says that it holds operators"):
        VerifyPlan(plan)(wrong)


@pytest.mark.parametrize("lower", [False, True])
def test_refuses_two_functions_for_one_group(grouped: tvm.IRModule, plan: PartitionPlan, lower: bool) -> None:
    wrong = changed(grouped, "fused_group_0", grouped["fused_group_0"].with_attr(OPERATORS, [4]))
    with pytest.raises(PlanError, match="another one says so too"):
        VerifyPlan(plan)(LowerGroups()(wrong) if lower else wrong)


def test_refuses_an_operator_in_another_group(residual: tvm.IRModule, plan: PartitionPlan) -> None:
    """The functions say what the plan says, but the second operator stands in the second function."""
    extraction = extract(residual)
    homes = ((0,), (1, 2, 3), (4,))
    functions = [
        GroupFunction(
            f"fused_group_{k}",
            frozenset(name for i in home for name in extraction.bindings[i]),
            {GROUP: k, BUFFER_BYTES: 0, OPERATORS: list(plan.groups[k].operators)},
        )
        for k, home in enumerate(homes)
    ]
    with pytest.raises(PlanError, match=r"'fused_group_0' holds 1 operators \(conv2d\); it says that it holds 2"):
        VerifyPlan(plan)(fuse_groups(extraction.module, functions))


def test_refuses_an_operator_that_stays_in_main(residual: tvm.IRModule, plan: PartitionPlan) -> None:
    made = FuseByPlan(plan)(residual)
    main = made["main"]
    params = [relax.Var(p.name, p.ty) for p in main.params]
    builder = relax.BlockBuilder(tvm.IRModule({v: f for v, f in made.functions.items() if v.name_hint != "main"}))
    calls = [b for b in bindings(main) if isinstance(b.value, relax.Call)]
    with builder.function("main", params):
        with builder.dataflow():
            values = dict(zip(main.params, params, strict=True))
            for b in calls:
                arguments = [values.get(argument, argument) for argument in b.value.args]
                values[b.var] = builder.emit(relax.Call(b.value.op, arguments))
            output = builder.emit_output(relax.op.exp(values[calls[-1].var]))
        builder.emit_func_output(output)
    wrong = builder.get()
    with pytest.raises(PlanError, match="stands in main, not in one group function"):
        VerifyPlan(plan)(wrong)


@pytest.mark.parametrize("times", [0, 2])
def test_refuses_a_group_that_main_does_not_call_once(times: int) -> None:
    mod = network(relax.op.exp, X)
    plan = plan_of(extract(mod).graph)
    made = FuseByPlan(plan)(mod)
    group = made.get_global_var("fused_group_0")
    builder = relax.BlockBuilder(tvm.IRModule({group: made["fused_group_0"]}))
    x = relax.Var("x", relax.TensorType(list(X), "float32"))
    with builder.function("main", [x]):
        with builder.dataflow():
            at = x
            for _ in range(times):
                at = builder.emit(relax.Call(group, [at]))
            output = builder.emit_output(at)
        builder.emit_func_output(output)
    with pytest.raises(PlanError, match=f"calls group function 'fused_group_0' {times} times"):
        VerifyPlan(plan)(builder.get())
