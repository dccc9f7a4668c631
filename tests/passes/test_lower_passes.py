"""LowerPasses: networks in any passes, with any weights kept, give TVM's results in the cost model's memory.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_passes.py -m slow
runs that many random networks (by default 300), three plans of each; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import warnings
from collections import Counter
from typing import Any

import pytest
import tvm
from hypothesis import settings
from hypothesis import strategies as st
from tvm.relax import op

from tests.golden import lower_passes as golden
from tests.passes.lowered_networks import EXAMPLES, KNOWN_REASONS, Lowered, check_random_networks
from tests.passes.lowering.in_passes import CHAINED, grouped, module, scaled, schemes
from tests.passes.lowering.lowered import PLAIN, ROOMY, WIDTHS
from tests.passes.modules import conv, copied, run, stepwise, weight
from tests.passes.networks import whole
from tests.passes.random_modules import Network, networks
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.multi_pass import MultiPassModel
from tvm_fusion.cost_models.multi_pass_simulator import simulate_passes
from tvm_fusion.graph.graph import OperatorGraph, mask_of
from tvm_fusion.graph.plan import PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerGroups, LowerPasses, LowerSchemes, extract, group_memory
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.group_memory import GroupMemory
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory


class Passes(Lowered):
    """Also in how many passes."""

    scheme = "two-pass"
    reasons_known = (*KNOWN_REASONS, "its weights do not go channel by channel")

    def __init__(self) -> None:
        super().__init__()
        self.passes: Counter[int] = Counter()

    def check_cost(self, graph: OperatorGraph, mask: int, parameters: dict[str, Any], memory: GroupMemory) -> None:
        split, kept, weights = (parameters[key] for key in ("split", "kept", "weights"))
        model = MultiPassModel(graph, OWN_WIDTHS)
        cost = model.cost(mask, parameters)
        assert cost is not None
        slow = simulate_passes(graph, mask, OWN_WIDTHS, split, kept, weights)
        assert memory.buffer_bytes == cost.buffer_bytes == slow.buffer_bytes
        assert memory.dram_bytes == cost.dram_bytes == slow.dram_bytes
        self.passes[len(model.group(mask, mask_of(split)).passes)] += 1


def lowered_in_passes(options: settings, max_steps: int = 12) -> Passes:
    """Random networks in two random plans each, in random passes."""
    counted = Passes()

    def check(data: st.DataObject, network: Network, plan: PartitionPlan) -> None:
        chosen = data.draw(schemes(extract(network.module()).graph, plan))
        if any(group.scheme == "two-pass" for group in chosen.groups):
            counted.check(network, chosen, LowerSchemes(vector_bytes=data.draw(WIDTHS)))

    check_random_networks(check, options, networks(max_steps, chains=True), plans=2)
    return counted


def test_random_networks() -> None:
    counted = lowered_in_passes(settings(max_examples=25, derandomize=True, **PLAIN), max_steps=6)
    assert counted.groups[True] > 5
    assert counted.share > 0.8


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = lowered_in_passes(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    counted.show()
    print(f"passes: {sorted(counted.passes.items())}")
    assert counted.share > 0.85
    assert max(counted.passes) > 2


KEPT = {"none": lambda _: False, "all": lambda _: True, "every second": lambda i: i % 2 == 0}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("weights", ["shared", "reloaded"])
@pytest.mark.parametrize("name", CHAINED)
def test_networks_are_lowered_without_a_warning(name: str, weights: str, kept: str) -> None:
    mod = module(name)
    inputs = random_inputs(mod)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerPasses()(grouped(mod, KEPT[kept], weights)))
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-5


# Rows of 8 columns by 4 channels are 128 bytes, the first of "squeeze and excite" in 6 channels 192; a map 8 rows.
BY_HAND = {
    # In the second pass rows of input, map and result, the scale, and one convolution's weights.
    "squeeze and excite": (128 + 192 + 192 + 24 + 96, 2 * 1024 + 1536 + 96 + 144),
    # In the third 3 rows of the input, 1 of a map, 3 of its product, 1 and 1 of the second block's, and both scales.
    "two blocks": (9 * 128 + 2 * 16 + 2 * 576, 3 * 1024 + 1024 + 2 * 576),
    # In the first a row of both maps and both scales, and the input whole: the second scale reads it after the first.
    "parallel chains": (8 * 128 + 2 * 128 + 2 * 16 + 2 * 64, 2 * 1024 + 1024 + 2 * 64),
    # In the third a row of the input, of a map and of the result, and one scale; 64 bytes of weights are loaded twice.
    "weights by turns": (3 * 128 + 16 + 64, 3 * 1024 + 1024 + 3 * 64),
    # From the second image on those of the first pass are there already.
    "weights by turns, three images": (3 * 128 + 16 + 64, 3 * (3 * 1024 + 1024 + 2 * 64) + 64),
    # The map is made whole in the first pass, and made again in the second.
    "a scale that is a result": (3 * 128 + 128 + 128 + 16 + 576, 2 * 1024 + 2 * 1024 + 16 + 576),
}


@pytest.mark.parametrize("name", BY_HAND)
def test_bytes_by_hand(name: str) -> None:
    (found,) = group_memory(VerifyMemory()(LowerPasses()(grouped(module(name))))).values()
    assert (found.buffer_bytes, found.dram_bytes) == BY_HAND[name]
    assert found.end_bytes == found.buffer_bytes


def test_line_buffers_of_passes_share_memory() -> None:
    """What one pass alone has lies where another one has its own; the scale and what is kept lie apart from all."""
    (found,) = group_memory(VerifyMemory()(LowerPasses()(grouped(module("two blocks"), lambda _: True)))).values()
    places = {name: range(address, address + size) for name, address, size in found.memory_map}
    throughout = [name for name in places if "pass" not in name]
    assert sorted(throughout) == ["global_avg_pool2d_1_rows", "global_avg_pool2d_4_rows", "weight_0_1", "weight_3_1"]
    for number in (1, 2, 3):
        there = [places[n] for n in places if n.endswith(f"pass_{number}") or n.startswith("weight")]
        assert sum(map(len, there)) == len(set().union(*there))
    assert sum(map(len, places.values())) > found.end_bytes


def normed(emit: Any, x: Any) -> Any:
    """Group norm goes over all rows before any is done."""
    return op.nn.group_norm(scaled(emit, emit(conv(x, 4))), weight(4), weight(4), 2, 1, [2, 3])


def test_warning_names_group_operator_and_reason() -> None:
    mod = grouped(stepwise(normed, (1, 4, 8, 8)))
    with pytest.warns(LoweringWarning, match=r"^fused_group_0 is left .*: operator 'gv': its step .* is no single "):
        tvm.ir.assert_structural_equal(LowerPasses()(mod), mod)


def test_other_schemes_stay_and_the_input_stays_as_it_is() -> None:
    mod = grouped(module("two blocks"))
    before = copied(mod)
    LowerPasses()(mod)
    tvm.ir.assert_structural_equal(mod, before)
    rows = FuseByPlan(whole(extract(module("two blocks")).graph), ROOMY)(module("two blocks"))
    tvm.ir.assert_structural_equal(LowerPasses()(rows), rows)


def test_expected_function() -> None:
    mod = golden.lowered()
    tvm.ir.assert_structural_equal(mod["fused_group_0"], golden.expected)
    (call,) = (binding.value for binding in bindings(mod["main"]) if op_name(binding.value) == "call_tir")
    assert constant_array(call.args[1].fields[-1]).tolist() == [list(line) for line in golden.PROGRAM]
