"""LowerLineBuffer: any plan of any small network gives torch's results, with the memory of the cost model.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_line_buffer.py -m slow
runs that many random networks (by default 300), three plans of each, each for vector registers of a random width and
for one to three threads; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.golden import lower_line_buffer as golden
from tests.passes.lowering.lowered import shared_always
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, copied, private_functions, run, stepwise, weight
from tests.passes.networks import NETWORKS, named, whole
from tests.passes.random_modules import Network, networks
from tests.strategies import partitions
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.attributes import (
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    IR_THREADS,
    MEMORY_MAP,
    OPERATORS,
    SCHEME,
    group_functions,
)
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "300"))
PLAIN = {"deadline": None, "suppress_health_check": list(HealthCheck)}
ROOMY = Accelerator(buffer_bytes=10**9)
SMALL = Accelerator(buffer_bytes=600)
WIDTHS = st.sampled_from((16, 32, 64))  # bytes of a vector register
THREADS = st.sampled_from((1, 2, 3))
# Why an operator may stay with TVM: its arithmetic goes over all rows before any is done, or TVM has no loops for it.
KNOWN_REASONS = (
    "is no single assignment",
    "is read in more than one way",
    "does not make image by image",
    "is read at other rows than it makes",
    "it does not add up rows one after another",
    "one tensor is returned twice",
    "it reads one tensor as two shapes",
    "TVM makes no single TIR function",
    "alone it falls into other operators",
    "several operands are one weight",
)
# Refused on purpose, whatever the operator: such groups say nothing of how many operators go row by row.
LIMITS = ("images of a batch", "does not begin with the batch", "beside narrower ones")


class Lowered:
    """How many groups of scheme LBDF were lowered, and why the others were not."""

    def __init__(self) -> None:
        self.groups: Counter[bool] = Counter()
        self.reasons: Counter[str] = Counter()
        self.shared = 0  # by several threads

    @property
    def share(self) -> float:
        """Of the groups that no limit of the lowering leaves out beforehand."""
        limited = sum(n for reason, n in self.reasons.items() if any(limit in reason for limit in LIMITS))
        return self.groups[True] / max(1, self.groups.total() - limited)

    def check(
        self, network: Network, plan: PartitionPlan, accelerator: Accelerator, vector_bytes: int, threads: int
    ) -> None:
        """Lower, verify, compile, run and compare one plan."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LoweringWarning)
            grouped = FuseByPlan(plan, accelerator)(network.module())
            with shared_always():
                lowered = VerifyMemory()(LowerLineBuffer(vector_bytes=vector_bytes, threads=threads)(grouped))
        relax.analysis.well_formed(lowered)
        said = [str(warning.message) for warning in caught if issubclass(warning.category, LoweringWarning)]
        self._check_groups(lowered, extract(network.module()).graph, said)
        found = run(LowerGroups()(lowered), network.arrays())
        for array, expected in zip(found, network.results(), strict=True):  # sums of what cancels out are small
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6 + 1e-4 * largest)

    def _check_groups(self, lowered: tvm.IRModule, graph: OperatorGraph, said: list[str]) -> None:
        """Groups of LBDF are PrimFuncs with the costs of the network's graph, or named in a warning."""
        model = LineBufferModel(graph, Accelerator(activation_bits=None, weight_bits=None))
        for name, attributes in group_functions(lowered).items():
            is_lowered = isinstance(lowered[name], tvm.tirx.PrimFunc)
            reasons = [text for text in said if text.startswith(f"{name} is left to TVM's own lowering: ")]
            by_rows = str(attributes[SCHEME]) == "lbdf"
            assert (by_rows and is_lowered) == (IR_BUFFER_BYTES in attributes) == (MEMORY_MAP in attributes)
            assert len(reasons) == int(by_rows and not is_lowered)
            if by_rows:
                self.groups[is_lowered] += 1
            for reason in reasons:
                assert any(known in reason for known in (*KNOWN_REASONS, *LIMITS)), reason
                self.reasons[reason.split(": ", 1)[1]] += 1
            if by_rows and is_lowered:
                cost = model.cost(mask_of([int(i) for i in attributes[OPERATORS]]))
                assert int(attributes[IR_BUFFER_BYTES]) == cost.buffer_bytes
                halo_bytes = int(attributes[IR_DRAM_BYTES]) - cost.dram_bytes
                assert halo_bytes >= 0 if IR_THREADS in attributes else halo_bytes == 0
                self.shared += IR_THREADS in attributes


def alone_as_layers(plan: PartitionPlan) -> PartitionPlan:
    """The plan with the scheme "layer" for every operator that is a group of its own."""
    return PartitionPlan(tuple(Group(g.operators, "layer") if len(g.operators) == 1 else g for g in plan.groups))


def check_random_networks(options: settings, max_steps: int = 12) -> Lowered:
    """Random networks: one group of all that hangs together, and two random plans each; at times little memory."""
    counted = Lowered()

    @given(data=st.data(), network=networks(max_steps))
    @options
    def check(data: st.DataObject, network: Network) -> None:
        graph = extract(network.module()).graph
        counted.check(network, whole(graph), ROOMY, data.draw(WIDTHS), data.draw(THREADS))
        for _ in range(2 if len(graph) > 1 else 0):
            plan = data.draw(partitions(graph))
            if data.draw(st.booleans()):
                plan = alone_as_layers(plan)
            accelerator = data.draw(st.sampled_from((ROOMY, ROOMY, ROOMY, SMALL)))
            counted.check(network, plan, accelerator, data.draw(WIDTHS), data.draw(THREADS))

    check()
    return counted


def test_random_networks() -> None:
    counted = check_random_networks(settings(max_examples=20, derandomize=True, **PLAIN), max_steps=6)
    assert counted.share > 0.8
    assert counted.shared > 0


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = check_random_networks(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    print(f"lowered {counted.groups[True]} of {counted.groups.total()} groups; not: {counted.reasons.most_common()}")
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
