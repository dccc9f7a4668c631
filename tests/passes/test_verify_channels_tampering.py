"""VerifyMemory finds what was changed in a group that streams channels, and says what it is."""

from __future__ import annotations

import itertools

import pytest

from tests.golden import lower_channels as golden
from tests.passes.tampering import (
    AGAIN,
    NAME,
    OUTSIDE,
    UNKNOWN,
    Change,
    allocated,
    assert_found,
    assert_needs,
    assert_off_by_one_is_found,
    assert_read_back,
    edited_module,
    indented,
    reads,
    writes,
)
from tvm_fusion.passes.attributes import ACCUMULATOR_BYTES, IR_BUFFER_BYTES, IR_DRAM_BYTES, MEMORY_MAP
from tvm_fusion.passes.verify_memory import VerifyMemory

LOAD = "input_0_channels[channel, i2 * 2 + lane + i0] = p0[i0, channel, i2, lane]"
STORE = "result_0[i0, channel, i2, lane] = input_0_channels[channel, i2 * 2 + lane + i0]"
PASSES = "conv2d_0_weights[w0 * 2 + w1 + w2] = p1[channel + w0, w1, w2, 0]"
BIAS = "conv2d_2_weights[w0 * 2 + w1 + w2] = p4[w0, w1, w2, 0]"
SUM = "conv2d_2_channels[v_ff, vector * 4 + lane] = conv2d_2_channels[v_ff, vector * 4 + lane] + "
STREAM = "relu_1_channel[0, vector * 4 + lane] * conv2d_2_weights[v_ff]"
ADD = "input_0_channels[channel, vector * 4 + lane] = input_0_channels[channel, vector * 4 + lane] + "
RELU = "= T.max(relu_1_channel[0, vector * 4 + lane]"


TAMPERED: dict[str, tuple[Change, str]] = {
    "the input is read twice": ((LOAD, LOAD + " + p0[i0, channel, i2, lane]"), AGAIN),
    "the input is read again in the next phase": (
        (STORE, STORE + " + p0[i0, channel, i2, lane]"),
        "moves .* 184 bytes .* 152 .*[+]32",
    ),
    "one number of the input is read again and again": ((ADD, ADD + "p0[0, channel, 0, 0] + "), AGAIN),
    "always the first channel is read": (reads("p0[i0, 0, i2, lane]", LOAD), AGAIN),
    "the next channel is read": (reads("p0[i0, channel + 1, i2, lane]", LOAD), OUTSIDE),
    "one column is read": (reads("p0[i0, channel, i2, 0]", LOAD), AGAIN),
    "nothing is stored": (writes("input_0_channels[0, 0]", STORE), "moves .* 120 bytes .* 152 .*-32"),
    "the result is stored in every phase": (
        (SUM, f"result_0[0, 0, 0, 0] = T.float32(0)\n{' ' * 20}{SUM}"),
        AGAIN,
    ),
    "the result is read back": ((STORE, STORE + " + result_0[i0, channel, i2, lane]"), AGAIN),
    "weights do not pass": (reads("T.float32(1)", PASSES), "moves .* 120 bytes .* 152"),
    "always the first channel's weights pass": (reads("p1[w0, w1, w2, 0]", PASSES), AGAIN),
    "weights pass in part": (reads("p1[channel + w0, 0, w2, 0]", PASSES), AGAIN),
    "weights are read from DRAM": ((STREAM, STREAM + " * p3[v_ff, channel, 0, 0]"), AGAIN),
    "biases are left out": (reads("T.float32(1)", BIAS), "holds on chip .*|moves .*"),
    "biases have a place beyond the weights": (writes("conv2d_2_weights[w0 * 2 + w1 + w2 + 2]", BIAS), OUTSIDE),
    "a channel more of weights": (
        ('conv2d_0_weights = T.alloc_buffer((3,), scope="global.sram")',
         'conv2d_0_weights = T.alloc_buffer((6,), scope="global.sram")'),
        "holds on chip 114 bytes .* 102 .*[+]12",
    ),
    "all weights at once": (
        ('conv2d_2_weights = T.alloc_buffer((2,), scope="global.sram")',
         'conv2d_2_weights = T.alloc_buffer((10,), scope="global.sram")'),
        "holds on chip 132 bytes .*[+]30",
    ),
    "two channels of a stream": (
        (allocated("relu_1_channel", 1, 4), allocated("relu_1_channel", 2, 4)),
        "holds on chip 118 bytes .*[+]16",
    ),
    "sums that are read before they start": (
        (LOAD, LOAD + " + conv2d_2_channels[0, 0]"),
        "'conv2d_2_channels' is read before it is written",
    ),
    "a buffer that is there before the phases": (
        ("T.evaluate(program[0, 0])", f"relu_1_channel[0, 0] = T.float32(0)\n{' ' * 4}T.evaluate(program[0, 0])"),
        "'relu_1_channel' is used outside of the phases",
    ),
    "a phase that is cut in two": (
        (f"{' ' * 8}for channel in range(4):", f"    for again in range(1):\n{' ' * 8}for channel in range(4):"),
        "it has 3 phases, its program 2",
    ),
    "a phase that is executed twice": (
        ("for phase in range(1):", "for phase in range(2):"),
        "it has .* phases, its program 2",
    ),
    "more channels than there is room for": (
        (allocated("input_0_channels", 2, 4), allocated("input_0_channels", 1, 4)),
        f"'input_0_channels' is read or written {OUTSIDE}",
    ),
    "less of a map than there is": (
        (allocated("relu_1_channel", 1, 4), allocated("relu_1_channel", 1, 3)),
        f"'relu_1_channel' is read or written {OUTSIDE}",
    ),
    "sums counted beside": (
        (allocated("conv2d_2_channels", 2, 4), allocated("conv2d_2_channels", 2, 4).replace("sram", "accumulator")),
        "holds on chip 70 bytes .*-32",
    ),
    "a buffer of another scope": (
        (allocated("relu_1_channel", 1, 4), allocated("relu_1_channel", 1, 4).replace("sram", "other")),
        "holds on chip 86 bytes",
    ),
    "where a value decides": (
        (LOAD, f"if input_0_channels[0, 0] < T.float32(0):\n{' ' * 20}{LOAD}"),
        "a condition that is " + UNKNOWN,
    ),
    "weights pass only for one channel": (indented(PASSES, "if channel == 1:", 16), "a condition that is " + UNKNOWN),
    "a value decides within an expression": (
        reads("T.if_then_else(input_0_channels[0, 0] < T.float32(0), p0[i0, channel, i2, lane], T.float32(0))", LOAD),
        "a condition that is " + UNKNOWN,
    ),
    "a call that takes the address of a parameter": (
        (LOAD, LOAD + ' + T.call_extern("float32", "sum_of_all", p0.data)'),
        "p0",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str) -> None:
    change, message = TAMPERED[name]
    assert_found(edited_module(golden.lowered(), change), message)


def test_what_is_changed_is_what_the_pass_reads() -> None:
    assert_read_back(golden.lowered())


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("attribute", "value"), [(IR_BUFFER_BYTES, 102), (IR_DRAM_BYTES, 152)])
def test_attribute_that_is_off_by_one(attribute: str, value: int, by: int) -> None:
    assert_off_by_one_is_found(golden.lowered(), attribute, value, by)


def test_memory_map_of_the_golden_group() -> None:
    """Everything of the first phase lies apart; of a quarter of 40 bytes of weights the last two are set aside too."""
    function = VerifyMemory(buffer_bytes=102)(golden.lowered())[NAME]
    places = {str(name): (int(address), int(size)) for name, address, size in function.attrs[MEMORY_MAP]}
    sizes = {"input_0_channels": 32, "conv2d_2_channels": 32, "relu_1_channel": 16, "conv2d_0_weights": 12}
    assert {name: size for name, (_, size) in places.items()} == sizes | {"conv2d_2_weights": 10}
    spans = sorted((address, address + size) for address, size in places.values())
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(spans))
    assert max(end for _, end in spans) == 102
    assert int(function.attrs[ACCUMULATOR_BYTES]) == 0


def test_what_does_not_fit_the_buffer() -> None:
    assert_needs(golden.lowered(), 102)
