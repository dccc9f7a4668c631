"""LowerBands: networks in any number of bands, with any weights kept, give TVM's results in the cost model's memory.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_bands.py -m slow
runs that many random networks (by default 300), three plans of each; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import tvm
from hypothesis import settings
from hypothesis import strategies as st
from tvm import relax

from tests.golden import lower_bands as golden
from tests.passes.lowered_networks import EXAMPLES, KNOWN_REASONS, Lowered, check_random_networks
from tests.passes.lowering.banded import grouped, schemes
from tests.passes.lowering.lowered import PLAIN, WIDTHS
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, copied, private_functions, run, stepwise
from tests.passes.networks import NETWORKS, named
from tests.passes.random_modules import Network, networks
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.bands_simulator import simulate_bands
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import LowerGroups, LowerSchemes, extract
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.group_memory import GroupMemory
from tvm_fusion.passes.lower_bands import LowerBands
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory


class Bands(Lowered):
    scheme = "brr"
    reasons_known = (*KNOWN_REASONS, "its weights do not go channel by channel")

    def check_cost(self, graph: OperatorGraph, mask: int, parameters: dict[str, Any], memory: GroupMemory) -> None:
        bands, kept = parameters["bands"], parameters["kept"]
        cost = BandModel(graph, OWN_WIDTHS).cost(mask, bands, kept)
        slow = simulate_bands(graph, mask, OWN_WIDTHS, bands, kept)
        assert memory.buffer_bytes == cost.buffer_bytes == slow.buffer_bytes
        assert memory.dram_bytes == cost.dram_bytes == slow.dram_bytes


def lowered_in_bands(options: settings, max_steps: int = 12) -> Bands:
    """Random networks in two random plans each, in random bands."""
    counted = Bands()

    def check(data: st.DataObject, network: Network, plan: PartitionPlan) -> None:
        chosen = data.draw(schemes(extract(network.module()).graph, plan))
        counted.check(network, chosen, LowerSchemes(vector_bytes=data.draw(WIDTHS)))

    check_random_networks(check, options, networks(max_steps), plans=2)
    return counted


def test_random_networks() -> None:
    counted = lowered_in_bands(settings(max_examples=20, derandomize=True, **PLAIN), max_steps=6)
    assert counted.share > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = lowered_in_bands(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    counted.show()
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
