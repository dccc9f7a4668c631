"""FuseByPlan: one private function a group, weights as parameters, results unchanged."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.golden import fuse_by_plan as golden
from tests.passes.modules import conv, copied, network, private_functions, run, stepwise
from tests.passes.networks import NETWORKS, X, named, plan_of, whole
from tests.strategies import partitions
from tvm_fusion.cost_models.accelerator import Accelerator, load_accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import PlanError
from tvm_fusion.graph.graph import mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, VerifyPlan, extract
from tvm_fusion.passes.attributes import BUFFER_BYTES, DRAM_BYTES, GROUP, OPERATORS, SCHEME, group_functions
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.primitive import PRIMITIVE
from tvm_fusion.passes.relax_tools import bindings, is_constant

FEW = settings(max_examples=3, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


def test_expected_module() -> None:
    plan = plan_of(extract(golden.Before).graph, *golden.GROUPS)
    accelerator = Accelerator(activation_bits=8, weight_bits=8)
    tvm.ir.assert_structural_equal(FuseByPlan(plan, accelerator)(golden.Before), golden.Expected)


@pytest.mark.parametrize("name", NETWORKS)
@given(data=st.data())
@FEW
def test_any_plan_leaves_the_results(name: str, data: st.DataObject) -> None:
    mod = named(name)
    plan = data.draw(partitions(extract(mod).graph))
    grouped = FuseByPlan(plan)(mod)
    relax.analysis.well_formed(grouped)  # raises for what is not
    assert largest_relative_error(run(LowerGroups()(grouped), random_inputs(mod)), unfused_results(name)) < 1e-4


@functools.cache
def unfused_results(name: str) -> list[np.ndarray]:
    return run(named(name), random_inputs(named(name)))


@pytest.mark.parametrize("name", NETWORKS)
def test_one_private_function_a_group_in_the_order_of_execution(name: str) -> None:
    mod = named(name)
    graph = extract(mod).graph
    for plan in (plan_of(graph), whole(graph)):
        grouped = FuseByPlan(plan)(mod)
        assert private_functions(grouped) == sorted(f"fused_group_{k}" for k in range(len(plan.groups)))
        assert all("global_symbol" not in grouped[name].attrs for name in private_functions(grouped))
        called = [b.value.op.name_hint for b in bindings(grouped["main"]) if isinstance(b.value, relax.Call)]
        assert called == [f"fused_group_{k}" for k in range(len(plan.groups))]


def test_attributes_are_those_of_the_cost_model() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    plan = plan_of(graph, (0, 1), (2, 3))
    accelerator = Accelerator(buffer_bytes=4096)
    oracle = Oracle(graph, accelerator)
    found = list(group_functions(FuseByPlan(plan, accelerator)(mod)).values())
    assert [int(attributes[GROUP]) for attributes in found] == [0, 1, 2]
    for attributes, group in zip(found, plan.groups, strict=True):
        cost = oracle.cost(mask_of(group.operators))
        assert tuple(int(i) for i in attributes[OPERATORS]) == group.operators
        assert str(attributes[SCHEME]) == cost.scheme
        assert (int(attributes[BUFFER_BYTES]), int(attributes[DRAM_BYTES])) == (cost.buffer_bytes, cost.dram_bytes)


def test_accelerator_is_the_plans_own_unless_given() -> None:
    mod = named("residual")
    graph = extract(mod).graph
    bits = Accelerator(activation_bits=32, weight_bits=32)
    saved = PartitionPlan(plan_of(graph).groups, {"accelerator": bits.to_json()})
    by_plan = group_functions(FuseByPlan(saved)(mod))
    by_hand = group_functions(FuseByPlan(plan_of(graph), bits)(mod))
    by_default = group_functions(FuseByPlan(plan_of(graph))(mod))
    edge = group_functions(FuseByPlan(plan_of(graph), load_accelerator("edge"))(mod))

    def dram(groups: dict[str, dict[str, object]]) -> list[int]:
        return [int(str(attributes[DRAM_BYTES])) for attributes in groups.values()]

    assert dram(by_plan) == dram(by_hand) != dram(by_default)
    assert dram(by_default) == dram(edge)


@pytest.mark.parametrize("name", NETWORKS)
def test_tensor_constants_are_parameters(name: str) -> None:
    mod = named(name)
    grouped = FuseByPlan(whole(extract(mod).graph))(mod)
    for function in private_functions(grouped):
        for binding in bindings(grouped[function]):
            arguments = binding.value.args if isinstance(binding.value, relax.Call) else []
            assert not [a for a in arguments if is_constant(a) and len(a.ty.shape)]
    kept = [a for b in bindings(grouped["main"]) for a in getattr(b.value, "args", []) if is_constant(a)]
    before = extract(mod).module["main"]
    given_ = [a for b in bindings(before) for a in getattr(b.value, "args", []) if is_constant(a) and len(a.ty.shape)]
    assert len(kept) == len(given_)


def test_weight_that_two_operators_share_is_one_parameter() -> None:
    def build(emit: object, x: object) -> object:
        first = conv(x, 4)
        shared = first.args[1]
        return relax.op.nn.conv2d(emit(first), shared, padding=1)  # type: ignore[operator]

    mod = stepwise(build, X)
    (attributes,) = group_functions(FuseByPlan(whole(extract(mod).graph))(mod)).values()
    assert len(attributes[OPERATORS]) == 2
    assert len(FuseByPlan(whole(extract(mod).graph))(mod)["fused_group_0"].params) == 2


def test_several_results_are_a_tuple() -> None:
    mod = named("branches")
    graph = extract(mod).graph
    grouped = FuseByPlan(whole(graph))(mod)
    (name,) = private_functions(grouped)
    assert len(grouped[name].ret_ty.fields) == 2


@pytest.mark.parametrize("name", ["residual", "squeeze and excite", "branches", "transformer", "split and shuffle"])
def test_every_group_becomes_one_prim_func(name: str) -> None:
    mod = named(name)
    graph = extract(mod).graph
    for plan in (plan_of(graph), whole(graph)):
        grouped = FuseByPlan(plan)(mod)
        assert all(int(grouped[f].attrs[PRIMITIVE]) == 1 for f in private_functions(grouped))
        lowered = LowerGroups()(grouped)
        assert all(isinstance(lowered[f], tvm.tirx.PrimFunc) for f in private_functions(grouped))


def test_group_that_fuse_tir_cannot_take_is_not_primitive() -> None:
    """topk is a call of a packed function."""
    mod = named("tuple of an operator")
    grouped = FuseByPlan(plan_of(extract(mod).graph))(mod)
    marks = {str(grouped[f].attrs.get(PRIMITIVE, 0)) for f in private_functions(grouped)}
    (home,) = (f for f in private_functions(grouped) if any(
        "topk" in str(getattr(b.value, "op", "")) for b in bindings(grouped[f])
    ))  # fmt: skip
    assert marks == {"0", "1"}
    assert PRIMITIVE not in grouped[home].attrs


def test_attributes_survive_fuse_tir() -> None:
    mod = named("residual")
    grouped = FuseByPlan(plan_of(extract(mod).graph, (0, 1)))(mod)

    def plain(groups: dict[str, dict[str, object]]) -> dict[str, dict[str, str]]:
        return {name: {key: str(value) for key, value in a.items()} for name, a in groups.items()}

    assert plain(group_functions(LowerGroups()(grouped))) == plain(group_functions(grouped))
    assert len(group_functions(grouped)) == 4


def test_leaves_its_input_as_it_is() -> None:
    mod = named("residual")
    before = copied(mod)
    FuseByPlan(plan_of(extract(mod).graph, (0, 1)))(mod)
    tvm.ir.assert_structural_equal(mod, before)
    grouped = FuseByPlan(plan_of(extract(mod).graph, (0, 1)))(mod)
    kept = copied(grouped)
    LowerGroups()(grouped)
    tvm.ir.assert_structural_equal(grouped, kept)


def test_same_module_every_time() -> None:
    mod = named("branches")
    make = FuseByPlan(whole(extract(mod).graph))
    tvm.ir.assert_structural_equal(make(mod), make(mod))


def test_composes_with_passes_of_tvm() -> None:
    mod = named("residual")
    plan = plan_of(extract(mod).graph, (0, 1))
    steps = [
        relax.transform.Normalize(),
        FuseByPlan(plan),
        relax.transform.DeadCodeElimination(),
        relax.transform.CanonicalizeBindings(),
        VerifyPlan(plan),
        LowerGroups(),
    ]
    inputs = random_inputs(mod)
    fused = tvm.transform.Sequential(steps)(mod)
    assert largest_relative_error(run(fused, inputs), run(mod, inputs)) < 1e-4
    assert len(group_functions(fused)) == 4


def test_other_functions_of_the_module_stay() -> None:
    mod = named("residual")
    mod["helper"] = network(relax.op.exp, X)["main"].with_attr("global_symbol", "helper")
    grouped = FuseByPlan(plan_of(extract(mod).graph))(mod)
    tvm.ir.assert_structural_equal(grouped["helper"], mod["helper"])


def test_integer_inputs_keep_their_dtype() -> None:
    mod = network(lambda x: relax.op.add(x, relax.const(np.int32(2))), X, dtype="int32")
    grouped = FuseByPlan(plan_of(extract(mod).graph))(mod)
    assert str(grouped["main"].ret_ty.dtype) == "int32"


def test_refuses_the_plan_of_another_network() -> None:
    mod = named("residual")
    plan = PartitionPlan(plan_of(extract(mod).graph).groups, {"graph_fingerprint": "sha256:other"})
    with pytest.raises(PlanError, match=r"another network.*sha256:other"):
        FuseByPlan(plan)(mod)


@pytest.mark.parametrize(("groups", "message"), [
    (((0, 1, 2, 3),), "operator 4 .* is in no group"),
    (((0, 1, 2, 3, 4, 5),), "names operator 5"),
    (((0, 2), (1,), (3,), (4,)), "not connected|cycle"),
    (((0, 1), (1, 2), (3,), (4,)), "stands in groups"),
    (((1,), (0, 2, 3, 4)), "not connected|cycle"),
])  # fmt: skip
def test_refuses_what_is_no_partition(groups: tuple[tuple[int, ...], ...], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        FuseByPlan(PartitionPlan(tuple(Group(group) for group in groups)))(named("residual"))
