"""LowerChannels: networks in any phases give TVM's results in the cost model's memory.

TVM_FUSION_EXAMPLES=5000 python -m pytest tests/passes/test_lower_channels.py -m slow
runs that many random networks (by default 300), two plans of each; the numbers lowered are printed with -s.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tvm
from hypothesis import settings
from hypothesis import strategies as st
from tvm.relax import op

from tests.golden import lower_channels as golden
from tests.passes.lowered_networks import EXAMPLES, KNOWN_REASONS, LIMITS, Lowered, check_random_networks
from tests.passes.lowering.lowered import PLAIN, ROOMY, WIDTHS
from tests.passes.lowering.streamed import (
    basic_block,
    channels_together,
    inverted_residual,
    one_by_one,
    scaled,
    schemes,
    streamed,
    together,
)
from tests.passes.lowering_cases import BY_HAND
from tests.passes.modules import conv, copied, private_functions, run, stepwise
from tests.passes.networks import NETWORKS, named, whole
from tests.passes.quantized import SETTINGS, small
from tests.passes.random_modules import Network, networks
from tvm_fusion.cost_models.accelerator import OWN_WIDTHS
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_simulator import simulate_channels
from tvm_fusion.errors import CompileError
from tvm_fusion.frontends import load_network
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.graph.plan import Group, PartitionPlan
from tvm_fusion.passes import FuseByPlan, LowerChannels, LowerGroups, LowerSchemes, extract
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    group_functions,
)
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.group_memory import GroupMemory
from tvm_fusion.passes.lowering.not_lowered import LoweringWarning
from tvm_fusion.passes.relax_tools import bindings, constant_array, op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

NAME = "fused_group_0"


class Channels(Lowered):
    scheme = "channel-streaming"
    # Channels do not come one by one to an operator, or TVM has no loops for it.
    reasons_known = (
        *KNOWN_REASONS,
        "does not make channel by channel",
        "is read at other channels than it makes",
        "it reads another channel than the one that passes",
        "it does not add up channels one after another",
        "its operands' channels do not arrive one after another",
        "it streams by channels, and DRAM has another shape of it",
        "both must be of 32 bits and one dtype",
        "with weights of several dtypes",
        "its constants find no room",
        "it takes the memory of a tensor of dtype",
        "its weights do not go channel by channel",
    )
    limits = (*LIMITS, "its channels are its images")

    def check_cost(self, graph: OperatorGraph, mask: int, parameters: dict[str, Any], memory: GroupMemory) -> None:
        slow = simulate_channels(graph, mask, OWN_WIDTHS, ChannelAssignment.from_json(parameters))
        assert memory.buffer_bytes == slow.buffer_bytes
        assert memory.dram_bytes == slow.dram_bytes


def lowered_by_channels(options: settings, max_steps: int = 12) -> Channels:
    """Random networks in a random plan each, in random phases."""
    counted = Channels()

    def check(data: st.DataObject, network: Network, plan: PartitionPlan) -> None:
        chosen = data.draw(schemes(extract(network.module()).graph, plan))
        lowering = LowerSchemes(vector_bytes=data.draw(WIDTHS))
        with channels_together(data.draw(st.booleans())):
            counted.check(network, chosen, lowering)

    check_random_networks(check, options, networks(max_steps), plans=1)
    return counted


def test_random_networks() -> None:
    counted = lowered_by_channels(settings(max_examples=20, derandomize=True, **PLAIN), max_steps=6)
    counted.show()
    assert counted.share > 0.6


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_many_random_networks(part: int) -> None:
    """In two parts, so that two processes share them."""
    counted = lowered_by_channels(settings(max_examples=-(-EXAMPLES // 2), **PLAIN))
    counted.show()
    assert counted.share > 0.8


@pytest.mark.parametrize("name", BY_HAND)
@pytest.mark.filterwarnings("ignore::tvm_fusion.passes.lowering.not_lowered.LoweringWarning")
def test_known_cases(name: str) -> None:
    """The results of the network as TVM compiles it; what the lowering does not cover it leaves alone."""
    build, shapes, dtype = BY_HAND[name]
    mod = stepwise(build, *shapes, dtype=dtype)
    inputs = random_inputs(mod)
    expected = run(mod, inputs)
    graph = extract(mod).graph
    for choose in (one_by_one, together):
        groups = []
        for group in whole(graph).groups:
            chosen = choose(graph, group.operators)
            if chosen is not None:
                groups.append(Group(group.operators, "channel-streaming", chosen.to_json()))
        if len(groups) == len(whole(graph).groups):
            lowered = VerifyMemory()(LowerChannels()(FuseByPlan(PartitionPlan(tuple(groups)), ROOMY)(mod)))
            assert largest_relative_error(run(LowerGroups()(lowered), inputs), expected) < 1e-4


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "tuple of an operator"])
def test_networks_are_lowered_without_a_warning(name: str) -> None:
    mod = named(name)
    graph = extract(mod).graph
    groups = [
        Group(group.operators, "channel-streaming", one_by_one(graph, group.operators).to_json())
        for group in whole(graph).groups
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerChannels()(FuseByPlan(PartitionPlan(tuple(groups)), ROOMY)(mod)))
    assert all(isinstance(lowered[function], tvm.tirx.PrimFunc) for function in private_functions(lowered))


def checked(mod: tvm.IRModule, grouped: tvm.IRModule, vector_bytes: int = 16) -> Any:
    """The attributes of the one lowered group, whose results are those of the network."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerChannels(vector_bytes=vector_bytes)(grouped))
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-5
    return group_functions(lowered)[NAME]


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("batch", [1, 2])
def test_inverted_residual(batch: int, vector_bytes: int) -> None:
    """Maps of 8 x 8 numbers, 256 bytes a channel; 4 channels, 24 of them inside."""
    mod = stepwise(inverted_residual, (batch, 4, 8, 8))
    found = checked(mod, streamed(mod, [[0, 1, 2, 3, 4], [5]], [-1, 4, 5]), vector_bytes)
    # Input and sums, a channel of each relu (the convolutions are in place), and weights: 4 + 1 numbers, 9 + 1, and of
    # the projection, which has 24 * 4 + 4, the 24th part: 16 2/3 bytes.
    assert int(found[IR_BUFFER_BYTES]) == 2 * 4 * 256 + 2 * 256 + 20 + 40 + 17
    weights = 24 * 5 + 24 * 10 + 24 * 4 + 4
    assert int(found[IR_DRAM_BYTES]) == batch * (2 * 4 * 256 + 4 * weights)
    assert int(found[ACCUMULATOR_BYTES]) == 0


@pytest.mark.parametrize("batch", [1, 2])
def test_squeeze_and_excite_computed_again(batch: int) -> None:
    mod = stepwise(lambda emit, x: inverted_residual(emit, x, excite=True), (batch, 4, 8, 8))
    phases = [[0, 1, 2, 3, 4, 5], [6, 7], [0, 1, 2, 3, 8, 9, 10], [11]]
    found = checked(mod, streamed(mod, phases, [-1, 4, 5, 6, 7, 8, 10, 11]))
    twice = 24 * 5 + 24 * 10
    once = (24 * 4 + 4) + (24 * 4 + 24) + (24 * 4 + 4)
    assert int(found[IR_DRAM_BYTES]) == batch * (2 * 4 * 256 + 4 * (2 * twice + once))
    # The third phase: input, scale (in the place of what it is made of), sums, three streams, weights.
    assert int(found[IR_BUFFER_BYTES]) == 2 * 4 * 256 + 24 * 4 + 3 * 256 + 20 + 40 + 17


def test_squeeze_and_excite_held() -> None:
    mod = stepwise(lambda emit, x: inverted_residual(emit, x, excite=True), (1, 4, 8, 8))
    phases = [[0, 1, 2, 3, 4, 5], [6, 7], [8, 9, 10], [11]]
    found = checked(mod, streamed(mod, phases, [-1, 3, 4, 5, 6, 7, 8, 9, 10, 11]))
    assert int(found[IR_DRAM_BYTES]) == 2 * 4 * 256 + 4 * (24 * 5 + 24 * 10 + 24 * 4 + 4 + 24 * 4 + 24 + 24 * 4 + 4)


@pytest.mark.parametrize("phases", [[[0, 1, 2], [3, 4]], [[0, 1], [2], [3], [4]]])
def test_basic_block(phases: list[list[int]]) -> None:
    """The first convolution reads channels that are held; the second adds up those that come, or reads held ones."""
    mod = stepwise(basic_block, (1, 6, 7, 7))
    resident = [-1, 2, 4] if len(phases) == 2 else [-1, 1, 2, 3, 4]
    found = checked(mod, streamed(mod, phases, resident))
    assert int(found[IR_DRAM_BYTES]) == 4 * (2 * 6 * 49 + 2 * (6 * 6 * 9 + 6))


@pytest.mark.parametrize("vector_bytes", [16, 64])
@pytest.mark.parametrize("channels", [32, 37])
@pytest.mark.parametrize("batch", [1, 2])
def test_channels_that_lie_together(batch: int, channels: int, vector_bytes: int) -> None:
    """Small maps of many channels, in phases that read and add them up; as much memory as the other way round."""
    mod = stepwise(basic_block, (batch, channels, 5, 4))
    grouped = streamed(mod, [[0, 1, 2], [3, 4]], [-1, 2, 4])
    found = checked(mod, grouped, vector_bytes)
    text = LowerChannels(vector_bytes=vector_bytes)(grouped)[NAME].script()
    for name in ("input_0_channels", "conv2d_2_channels"):
        assert f"{name} = T.alloc_buffer((T.int64(20), T.int64({channels})), scope" in text
    weights = channels * channels * 9 + channels
    assert int(found[IR_DRAM_BYTES]) == 4 * batch * (2 * channels * 20 + 2 * weights)
    assert int(found[IR_BUFFER_BYTES]) == 4 * 3 * channels * 20  # input, sums and result, in the second phase


@pytest.mark.parametrize("phases", [[[0, 1, 2], [3, 4]], [[0, 1], [2], [3], [4]]])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_windows_where_channels_lie_together(kernel: int, phases: list[list[int]]) -> None:
    def build(emit: Any, x: Any) -> Any:
        at = emit(op.nn.relu(emit(conv(x, 8, kernel, strides=(1, 2)))))
        return op.nn.relu(emit(op.nn.max_pool2d(emit(conv(at, 9, kernel, seed=1)), 3, 1, padding=1)))

    mod = stepwise(build, (1, 7, 5, 6))
    with channels_together():
        checked(mod, streamed(mod, phases, [-1, 2, 4] if len(phases) == 2 else [-1, 1, 2, 3, 4]))


@pytest.mark.parametrize("held", [True, False])
def test_residual_input(held: bool) -> None:
    """An input that is held is read once and gives its memory to the sum; one that streams is read in both phases."""

    def build(emit: Any, x: Any) -> Any:
        return op.add(x, scaled(emit, emit(op.nn.relu(x)), 4))

    mod = stepwise(build, (1, 4, 6, 6))
    found = checked(mod, streamed(mod, [[0, 1], [2]], [-1, 1, 2] if held else [1]))
    reads = 1 if held else 2
    assert int(found[IR_DRAM_BYTES]) == 4 * ((reads + 1) * 4 * 36 + 4 * 4 + 4)
    # Sums and the weights of a channel (20 numbers in 4 parts); beside them what is held and a channel of the relu, or
    # a channel of the input and one of the relu.
    streams = 4 * 36 + 36 if held else 2 * 36
    assert int(found[IR_BUFFER_BYTES]) == 4 * (4 * 36 + streams + 5)


def test_memory_that_is_taken_while_a_stream_is_in_place() -> None:
    """The depthwise convolution is in place in the sum, which takes the memory of an operand: it must not overwrite
    that before it is read."""

    def build(emit: Any, x: Any) -> Any:
        return op.add(x, emit(conv(emit(op.nn.relu(x)), 4, groups=4)))

    mod = stepwise(build, (1, 4, 6, 6))
    found = checked(mod, streamed(mod, [[0, 1, 2]], [-1, 2]))
    assert int(found[IR_BUFFER_BYTES]) == 4 * (4 * 36 + 36 + 9)
    assert int(found[ACCUMULATOR_BYTES]) == 4 * 36


CONCATS: dict[str, Any] = {
    "channels": (lambda e, x: op.concat([e(op.nn.relu(x)), x, e(op.exp(x))], 1), [-1, 2], [[0, 1, 2]]),
    "columns": (lambda e, x: op.concat([e(op.nn.relu(x)), e(op.exp(x))], 3), [2], [[0, 1, 2]]),
    "rows": (lambda e, x: op.concat([e(op.nn.relu(x)), e(op.exp(x))], 2), [2], [[0, 1, 2]]),
    "channels of several sizes": (
        lambda e, x: op.concat([e(op.nn.relu(e(conv(x, 5)))), e(op.nn.relu(x))], 1),
        [-1, 3],
        [[0, 1, 2, 3]],
    ),
    "channels at once": (lambda e, x: op.concat([e(op.nn.relu(x)), e(conv(x, 3))], 1), [-1, 0, 1, 2], [[0, 1], [2]]),
    "every channel to a column": (
        lambda e, x: op.nn.relu(e(op.permute_dims(e(op.exp(x)), [0, 3, 2, 1]))),
        [-1, 1, 2],
        [[0, 1], [2]],
    ),
    "some channels": (lambda e, x: op.nn.relu(e(op.strided_slice(e(op.exp(x)), [1], [1], [3]))), [1], [[0, 1], [2]]),
}


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", CONCATS)
def test_what_is_copied_together(name: str, batch: int) -> None:
    build, resident, phases = CONCATS[name]
    mod = stepwise(build, (batch, 4, 5, 6))
    checked(mod, streamed(mod, phases, resident))


def test_tensors_between_schemes() -> None:
    """Line buffers, channels and bands one after another; what lies between them lies by rows."""
    mod = stepwise(
        lambda e, x: op.nn.relu(e(conv(e(inverted_residual(e, e(op.nn.relu(e(conv(x, 4)))))), 3, seed=9))), (1, 4, 6, 5)
    )
    middle = ChannelAssignment(((2, 3, 4, 5, 6), (7,)), (1, 6, 7)).to_json()
    plan = PartitionPlan(
        (
            Group((0, 1), "lbdf"),
            Group(tuple(range(2, 8)), "channel-streaming", middle),
            Group((8, 9), "brr", {"bands": 2, "kept": []}),
        )
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerSchemes()(FuseByPlan(plan, ROOMY)(mod)))
    assert all(isinstance(lowered[name], tvm.tirx.PrimFunc) for name in private_functions(lowered))
    assert "T.Buffer((T.int64(1), T.int64(6), T.int64(20))" in lowered["fused_group_1"].script()
    inputs = random_inputs(mod)
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) < 1e-5


@pytest.mark.parametrize("name", SETTINGS)
def test_quantized_convolutions(name: str, tmp_path: Path) -> None:
    """What makes channels of 8 bits is lowered; sums that come as 8 bits are refused, as the results would overlap."""
    rng = np.random.default_rng(3)
    weights = {
        "w": rng.standard_normal((6, 3, 3, 3)).astype(np.float32),
        "v": rng.standard_normal((5, 6, 1, 1)).astype(np.float32),
    }
    nodes = [("Conv", "x w", "h", {"pads": [1, 1, 1, 1]}), ("Relu", "h", "r", {}), ("Conv", "r v", "y", {})]
    mod = load_network(small(tmp_path, nodes, weights, (1, 3, 7, 6), **SETTINGS[name])).module
    graph = extract(mod).graph
    every = range(len(graph))
    held = Group(tuple(every), "channel-streaming", one_by_one(graph, every).to_json())
    inputs = random_inputs(mod)
    with warnings.catch_warnings():
        warnings.simplefilter("error", LoweringWarning)
        lowered = VerifyMemory()(LowerChannels()(FuseByPlan(PartitionPlan((held,)), ROOMY)(mod)))
    assert "int8" in lowered[NAME].script()
    assert largest_relative_error(run(LowerGroups()(lowered), inputs), run(mod, inputs)) == 0


def test_warning_names_group_operator_and_reason() -> None:
    mod = stepwise(lambda e, x: conv(e(op.nn.relu(x)), 4, groups=2), (1, 4, 5, 5))
    said = r"^fused_group_0 is left .*: operator 'gv': it does not add up channels one after another \(conv2d\)$"
    grouped = streamed(mod, [[0, 1]], [1])
    with pytest.warns(LoweringWarning, match=said):
        tvm.ir.assert_structural_equal(LowerChannels()(grouped), grouped)


def test_leaves_its_input_as_it_is() -> None:
    mod = stepwise(inverted_residual, (1, 4, 8, 8))
    grouped = streamed(mod, [[0, 1, 2, 3, 4], [5]], [-1, 4, 5])
    before = copied(grouped)
    LowerChannels()(grouped)
    tvm.ir.assert_structural_equal(grouped, before)


def test_expected_function() -> None:
    mod = golden.lowered()
    tvm.ir.assert_structural_equal(mod[NAME], golden.expected)
    (call,) = (binding.value for binding in bindings(mod["main"]) if op_name(binding.value) == "call_tir")
    assert constant_array(call.args[1].fields[-1]).tolist() == [[4], [2]]
    checked(golden.before(), mod)


@pytest.mark.parametrize("scope", ["sram", "local", "global.accumulator"])
def test_refuses_another_scope(scope: str) -> None:
    with pytest.raises(CompileError, match=f"scope '{scope}' is not allowed"):
        LowerChannels(scope=scope)
