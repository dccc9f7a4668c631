"""TVM's own FuseOps as a plan: the groups that it makes, none more."""

from __future__ import annotations

import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.passes.modules import bias, conv, copied, stepwise
from tests.passes.networks import NETWORKS, X, named
from tvm_fusion.graph.plan import PartitionPlan, check_plan
from tvm_fusion.passes import FuseByPlan, VerifyPlan, extract
from tvm_fusion.passes.fuse_ops_grouping import fuse_ops_grouping


def groups(plan: PartitionPlan) -> list[tuple[int, ...]]:
    return [group.operators for group in plan.groups]


@pytest.mark.parametrize("name", NETWORKS)
def test_is_a_plan_of_the_network(name: str) -> None:
    mod = named(name)
    plan = fuse_ops_grouping(mod)
    check_plan(extract(mod).graph, plan)
    VerifyPlan(plan)(FuseByPlan(plan)(mod))


def test_convolution_takes_the_elementwise_operators_behind_it() -> None:
    assert groups(fuse_ops_grouping(named("residual"))) == [(0, 1), (2, 3, 4)]


def test_two_convolutions_stay_apart() -> None:
    mod = stepwise(lambda emit, x: conv(emit(conv(x, 4)), 4, seed=2), X)
    assert groups(fuse_ops_grouping(mod)) == [(0,), (1,)]


def test_elementwise_chain_is_one_group() -> None:
    mod = stepwise(lambda emit, x: op.exp(emit(op.tanh(emit(op.sqrt(emit(op.abs(x))))))), X)
    assert len(groups(fuse_ops_grouping(mod))) == 1


def test_twice_the_same_operator_is_told_apart() -> None:
    """Two convolutions of one input with one weight, each with its own activation behind it."""

    def build(emit: object, x: object) -> object:
        first = conv(x, 4)
        second = relax.op.nn.conv2d(x, first.args[1], padding=1)
        left = emit(op.nn.relu(emit(op.add(emit(first), bias(4)))))  # type: ignore[operator]
        right = emit(op.tanh(emit(op.add(emit(second), bias(4, 7)))))  # type: ignore[operator]
        return op.concat([left, right], 1)

    plan = fuse_ops_grouping(stepwise(build, X))
    assert sorted(groups(plan))[:2] == [(0, 1), (2, 3)]


def test_leaves_its_input_as_it_is() -> None:
    mod = named("branches")
    before = copied(mod)
    fuse_ops_grouping(mod)
    tvm.ir.assert_structural_equal(mod, before)
