"""LowerBands: networks in any number of bands, with any weights kept, give TVM's results in the cost model's memory.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_bands.py -m slow
runs that many random networks (by default 300), three plans of each; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import os
import warnings
from collections import Counter
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tvm import relax

from tests.golden import lower_bands as golden
from tests.passes.lowering.banded import ROOMY, grouped, schemes
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, copied, private_functions, run, stepwise
from tests.passes.networks import NETWORKS, named, whole
from tests.passes.random_modules import Network, networks
from tests.strategies import partitions
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.bands_simulator import simulate_bands
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, LowerSchemes, extract
from tvm_fusion.passes.attributes import (
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    MEMORY_MAP,
    OPERATORS,
    SCHEME,
    group_functions,
    scheme_parameters,
)
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_bands import LowerBands
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

EXAMPLES = int(os.environ.get("TVM_FUSION_EXAMPLES", "300"))
PLAIN: dict[str, Any] = {"deadline": None, "suppress_health_check": list(HealthCheck)}
WIDTHS = st.sampled_from((16, 32, 64))  # bytes of a vector register
# Why an operator may stay with TVM: its arithmetic goes over all rows before any is done, or TVM has no loops for it.
KNOWN_REASONS = (
    "is no single assignment",
    "is read in more than one way",
    "does not make image by image",
    "is read at other rows than it makes",
    "one tensor is returned twice",
    "it reads one tensor as two shapes",
    "TVM makes no single TIR function",
    "alone it falls into other operators",
    "several operands are one weight",
    "its weights do not go channel by channel",
    # Of LBDF alone.
    "it does not add up rows one after another",
)
# Refused on purpose, whatever the operator: such groups say nothing of how many operators go in bands.
LIMITS = ("images of a batch", "does not begin with the batch", "beside narrower ones", "see padding alone")


class Lowered:
    """How many groups of BRR were lowered, and why the others were not."""

    def __init__(self) -> None:
        self.groups: Counter[bool] = Counter()
        self.reasons: Counter[str] = Counter()
        self.gaps: Counter[bool] = Counter()  # whether addresses need more than the most that is there at one time

    @property
    def share(self) -> float:
        """Of the groups that no limit of the lowering leaves out beforehand."""
        limited = sum(n for reason, n in self.reasons.items() if any(limit in reason for limit in LIMITS))
        return self.groups[True] / max(1, self.groups.total() - limited)

    def check(self, network: Network, plan: PartitionPlan, vector_bytes: int) -> None:
        """Lower, verify, compile, run and compare one plan."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", LoweringWarning)
            lowered = VerifyMemory()(LowerSchemes(vector_bytes=vector_bytes)(FuseByPlan(plan, ROOMY)(network.module())))
        relax.analysis.well_formed(lowered)
        said = [str(warning.message) for warning in caught if issubclass(warning.category, LoweringWarning)]
        self._check_groups(lowered, extract(network.module()).graph, said)
        found = run(LowerGroups()(lowered), network.arrays())
        for array, expected in zip(found, network.results(), strict=True):  # sums of what cancels out are small
            largest = np.abs(expected[np.isfinite(expected)]).max(initial=0)
            np.testing.assert_allclose(array, expected, rtol=0, atol=1e-6 + 1e-4 * largest)

    def _check_groups(self, lowered: tvm.IRModule, graph: OperatorGraph, said: list[str]) -> None:
        """Groups of BRR are PrimFuncs with the costs of the network's graph, or named in a warning."""
        model = BandModel(graph, OWN_WIDTHS)
        for name, attributes in group_functions(lowered).items():
            is_lowered = isinstance(lowered[name], tvm.tirx.PrimFunc)
            reasons = [text for text in said if text.startswith(f"{name} is left to TVM's own lowering: ")]
            assert is_lowered == (IR_BUFFER_BYTES in attributes) == (MEMORY_MAP in attributes)
            assert len(reasons) == int(not is_lowered)
            for reason in reasons:
                assert any(known in reason for known in (*KNOWN_REASONS, *LIMITS)), reason
            if str(attributes[SCHEME]) != "brr":
                continue
            self.groups[is_lowered] += 1
            self.reasons.update(reason.split(": ", 1)[1] for reason in reasons)
            if is_lowered:
                mask = mask_of([int(i) for i in attributes[OPERATORS]])
                chosen = scheme_parameters(attributes)
                cost = model.cost(mask, chosen["bands"], chosen["kept"])
                slow = simulate_bands(graph, mask, OWN_WIDTHS, chosen["bands"], chosen["kept"])
                assert int(attributes[IR_BUFFER_BYTES]) == cost.buffer_bytes == slow.buffer_bytes
                assert int(attributes[IR_DRAM_BYTES]) == cost.dram_bytes == slow.dram_bytes
                end = max(int(address) + int(size) for _, address, size in attributes[MEMORY_MAP])
                assert end >= max(int(size) for _, _, size in attributes[MEMORY_MAP])
                self.gaps[end > cost.buffer_bytes] += 1


def check_random_networks(options: settings, max_steps: int = 12) -> Lowered:
    """Random networks: one group of all that hangs together, and two random plans each, in random bands."""
    counted = Lowered()

    @given(data=st.data(), network=networks(max_steps))
    @options
    def check(data: st.DataObject, network: Network) -> None:
        graph = extract(network.module()).graph
        plans = [whole(graph)]
        plans += [data.draw(partitions(graph)) for _ in range(2 if len(graph) > 1 else 0)]
        for plan in plans:
            counted.check(network, data.draw(schemes(graph, plan)), data.draw(WIDTHS))

    check()
    return counted


def test_random_networks() -> None:
    counted = check_random_networks(settings(max_examples=20, derandomize=True, **PLAIN), max_steps=6)
    assert counted.share > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = check_random_networks(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    print(f"lowered {counted.groups[True]} of {counted.groups.total()} groups; not: {counted.reasons.most_common()}")
    print(f"{counted.gaps[True]} of {counted.gaps.total()} need more addresses than bytes at one time")
    assert counted.share > 0.85


KEPT = {"none": lambda _: False, "all": lambda _: True, "every second": lambda i: i % 2 == 0}


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.filterwarnings("ignore::tvm_fusion.passes.lowering.not_lowered.LoweringWarning")
def test_known_cases(name: str) -> None:
    """The results of the network as TVM compiles it; what the lowering does not cover it leaves alone."""
    build, shapes, dtype = BY_HAND[name]
    mod = stepwise(build, *shapes, dtype=dtype)
    inputs = random_inputs(mod)
    expected = run(mod, inputs)
    for bands, kept in ((1, "none"), (2, "every second"), (3, "none")):
        lowered = VerifyMemory()(LowerBands()(grouped(mod, bands, KEPT[kept])))
        assert largest_relative_error(run(LowerGroups()(lowered), inputs), expected) < 1e-4


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("bands", [1, 2, 3, 8])
@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tuple of an operator"])
def test_networks_are_lowered_without_a_warning(name: str, bands: int, kept: str) -> None:
    mod = named(name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerBands()(grouped(mod, bands, KEPT[kept])))
    assert all(isinstance(lowered[function], tvm.tirx.PrimFunc) for function in private_functions(lowered))


def test_warning_names_group_operator_and_reason() -> None:
    mod = grouped(named("tuple of an operator"), 2)
    with pytest.warns(LoweringWarning, match=r"^fused_group_0 is left .*: operator 'lv': TVM makes no .* topk$"):
        tvm.ir.assert_structural_equal(LowerBands()(mod), mod)


def test_leaves_its_input_as_it_is() -> None:
    mod = grouped(named("branches"), 3)
    before = copied(mod)
    LowerBands()(mod)
    tvm.ir.assert_structural_equal(mod, before)


def test_expected_function() -> None:
    mod = golden.lowered()
    tvm.ir.assert_structural_equal(mod["fused_group_0"], golden.expected)
    (call,) = (binding.value for binding in bindings(mod["main"]) if op_name(binding.value) == "call_tir")
    assert constant_array(call.args[1].fields[-1]).tolist() == [list(line) for line in golden.PROGRAM]


@pytest.mark.parametrize("bands", [2, 9])
@pytest.mark.parametrize("padding", [(0, 0), (2, 0), (0, 2), (2, 2)])
def test_rows_and_columns_that_see_padding_alone(padding: tuple[int, int], bands: int) -> None:
    """For a row that no code reads something is held too, in some bands for nothing else."""
    mod = stepwise(lambda emit, x: relax.op.nn.max_pool2d(x, (1, 1), padding=padding), (1, 2, 5, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerBands()(grouped(mod, bands)))
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-6


def test_windows_that_see_padding_alone_are_left_to_tvm() -> None:
    """No code reads what the cost model holds for them, so that the TIR does not tell for how long."""
    mod = stepwise(lambda emit, x: conv(emit(relax.op.nn.relu(x)), 2, kernel=2, dilation=4, padding=2), (1, 2, 2, 2))
    one = grouped(mod, 2, KEPT["none"])
    with pytest.warns(LoweringWarning, match="its windows see padding alone"):
        lowered = LowerBands()(one)
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(VerifyMemory()(lowered)), inputs), run(mod, inputs)) < 1e-6
