"""LowerLineBuffer: any plan of any small network gives torch's results, with the memory of the cost model.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_line_buffer.py -m slow
runs that many random networks (by default 300), three plans of each, each for vector registers of a random width and
for one to three threads; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import tvm
from hypothesis import settings
from hypothesis import strategies as st
from tvm import relax

from tests.golden import lower_line_buffer as golden
from tests.passes.lowered_networks import EXAMPLES, Lowered, check_random_networks
from tests.passes.lowering.lowered import PLAIN, ROOMY, WIDTHS, shared_always
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, copied, private_functions, run, stepwise, weight
from tests.passes.networks import NETWORKS, named, whole
from tests.passes.random_modules import Network, networks
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS, Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.group_memory import GroupMemory
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

SMALL = Accelerator(buffer_bytes=600)
THREADS = st.sampled_from((1, 2, 3))


class LineBuffers(Lowered):
    """Also how many groups several threads share."""

    scheme = "lbdf"
    every = False

    def __init__(self) -> None:
        super().__init__()
        self.shared = 0

    def check_cost(self, graph: OperatorGraph, mask: int, parameters: dict[str, Any], memory: GroupMemory) -> None:
        cost = LineBufferModel(graph, OWN_WIDTHS).cost(mask)
        assert memory.buffer_bytes == cost.buffer_bytes
        halo_bytes = memory.dram_bytes - cost.dram_bytes
        assert halo_bytes >= 0 if memory.threads > 1 else halo_bytes == 0
        self.shared += memory.threads > 1


def alone_as_layers(plan: PartitionPlan) -> PartitionPlan:
    """The plan with the scheme "layer" for every operator that is a group of its own."""
    return PartitionPlan(tuple(Group(g.operators, "layer") if len(g.operators) == 1 else g for g in plan.groups))


def lowered_by_rows(options: settings, max_steps: int = 12) -> LineBuffers:
    """Random networks in two random plans each; at times with little memory, or operators alone as layers."""
    counted = LineBuffers()

    def check(data: st.DataObject, network: Network, plan: PartitionPlan) -> None:
        lowering = LowerLineBuffer(vector_bytes=data.draw(WIDTHS), threads=data.draw(THREADS))
        chosen = alone_as_layers(plan) if data.draw(st.booleans()) else plan
        with shared_always():
            counted.check(network, chosen, lowering, data.draw(st.sampled_from((ROOMY, ROOMY, ROOMY, SMALL))))

    check_random_networks(check, options, networks(max_steps), plans=2)
    return counted


def test_random_networks() -> None:
    counted = lowered_by_rows(settings(max_examples=20, derandomize=True, **PLAIN), max_steps=6)
    assert counted.share > 0.8
    assert counted.shared > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = lowered_by_rows(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    counted.show()
    assert counted.share > 0.85


def each_alone(graph: OperatorGraph) -> PartitionPlan:
    return alone_as_layers(PartitionPlan(tuple(Group((i,)) for i in range(len(graph)))))


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.parametrize("plan_of", [whole, each_alone])
@pytest.mark.filterwarnings("ignore::tvm_fusion.passes.lowering.not_lowered.LoweringWarning")
def test_known_cases(name: str, plan_of: Callable[[OperatorGraph], PartitionPlan]) -> None:
    """The results of the network as TVM compiles it; what the lowering does not cover it leaves alone."""
    build, shapes, dtype = BY_HAND[name]
    mod = stepwise(build, *shapes, dtype=dtype)
    lowered = VerifyMemory()(LowerLineBuffer()(FuseByPlan(plan_of(extract(mod).graph), ROOMY)(mod)))
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-4


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tuple of an operator"])
def test_networks_are_lowered_without_a_warning(name: str) -> None:
    mod = named(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = LowerLineBuffer()(FuseByPlan(whole(extract(mod).graph), ROOMY)(mod))
    assert all(isinstance(lowered[function], tvm.tirx.PrimFunc) for function in private_functions(lowered))


def test_warning_names_group_operator_and_reason() -> None:
    mod = named("tuple of an operator")
    grouped = FuseByPlan(whole(extract(mod).graph), ROOMY)(mod)
    with pytest.warns(LoweringWarning, match=r"^fused_group_0 is left .*: operator 'lv': TVM makes no .* topk$"):
        tvm.ir.assert_structural_equal(LowerLineBuffer()(grouped), grouped)


def test_leaves_its_input_as_it_is() -> None:
    mod = named("branches")
    grouped = FuseByPlan(whole(extract(mod).graph), ROOMY)(mod)
    before = copied(grouped)
    LowerLineBuffer()(grouped)
    tvm.ir.assert_structural_equal(grouped, before)


def test_expected_function() -> None:
    mod = golden.before()
    lowered = LowerLineBuffer()(FuseByPlan(whole(extract(mod).graph), Accelerator())(mod))
    tvm.ir.assert_structural_equal(lowered["fused_group_0"], golden.expected)
    (call,) = (binding.value for binding in bindings(lowered["main"]) if isinstance(binding.value, relax.Call))
    _, *weights, program = call.args[1].fields
    assert [tuple(event) for event in constant_array(program).tolist()] == list(golden.EVENTS)
    convolutions = [binding.value for binding in bindings(mod["main"]) if op_name(binding.value) == "nn.conv2d"]
    for found, convolution in zip(weights, convolutions, strict=True):
        assert (constant_array(found) == golden.packed(constant_array(convolution.args[1]))).all()


@pytest.mark.parametrize("scheme", ["lbdf", "layer"])
def test_one_operand_alone(scheme: str) -> None:
    """Of functions of one operand TVM asks whether they are reshapes, in a form that only its own have."""

    def build(emit: Any, x: Any) -> Any:
        return relax.op.nn.relu(emit(relax.op.nn.softmax(x, axis=1)))

    mod = stepwise(build, (1, 3, 4, 4))
    graph = extract(mod).graph
    plan = PartitionPlan(tuple(Group((i,), scheme) for i in range(len(graph))))
    inputs = random_inputs(mod)
    found = run(LowerGroups()(VerifyMemory()(LowerLineBuffer()(FuseByPlan(plan, ROOMY)(mod)))), inputs)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-6


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("scheme", ["lbdf", "layer"])
def test_what_sees_only_padding(scheme: str, bias: bool, size: int) -> None:
    """A window whose taps are all outside reads neither input nor weights, and TVM asks the same of what it reads."""

    def build(emit: Any, x: Any) -> Any:
        seen = conv(x, 1, kernel=2, dilation=2 * size, padding=size)
        seen = relax.op.add(emit(seen), weight(1, 1, 1, 1)) if bias else seen
        return relax.op.nn.softmax(emit(seen), axis=2)

    mod = stepwise(build, (1, 1, size, size))
    graph = extract(mod).graph
    plan = PartitionPlan(tuple(Group((i,), scheme) for i in range(len(graph))))
    inputs = random_inputs(mod)
    found = run(LowerGroups()(VerifyMemory()(LowerLineBuffer()(FuseByPlan(plan, ROOMY)(mod)))), inputs)
    assert largest_relative_error(found, run(mod, inputs)) < 1e-6
