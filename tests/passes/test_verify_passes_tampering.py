"""VerifyMemory finds what was changed in a group in passes, and says what it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.golden import lower_passes as golden
from tests.passes.tampering import (
    AGAIN,
    NAME,
    Change,
    allocated,
    assert_found,
    assert_needs,
    assert_off_by_one_is_found,
    assert_read_back,
    edited_module,
    reads,
    with_program,
    writes,
)
from tvm_fusion.passes.attributes import ACCUMULATOR_BYTES, IR_BUFFER_BYTES, IR_DRAM_BYTES, MEMORY_MAP
from tvm_fusion.passes.verify_memory import VerifyMemory

WEIGHTS = [f"weight_0_1_pass_{k}[vector * 4 + lane] = p1[vector * 4 + lane]" for k in (1, 2)]
LOADS = [f"input_0_rows_pass_{k}[0, i3 * 2 + lane] = p0[image, lane, row, i3]" for k in (1, 2)]
STORE = "result_0[image, i1, row, vector * 4 + lane] = multiply_2_rows_pass_2[0, vector * 8 + lane * 2 + i1]"
SCALE = "global_avg_pool2d_1_rows[0, lane] = operand_0_red_1[lane, 0, 0]"
PRODUCT = "conv2d_0_rows_pass_2[0, v_ax3 * 2 + lane] * global_avg_pool2d_1_rows[0, lane]"
SECOND = "for event in range(13):"


TAMPERED: dict[str, tuple[Change, str]] = {
    "the second pass reads no input": (reads("T.float32(1)", LOADS[1]), "moves .* 576 bytes .* 832 .*-256"),
    "the first pass reads no input": (reads("T.float32(1)", LOADS[0]), "moves .* 576 bytes .* 832 .*-256"),
    "a pass reads a row twice": ((LOADS[1], LOADS[1] + " + p0[image, lane, row, i3]"), AGAIN),
    "a pass reads always the first row": (reads("p0[image, lane, 0, i3]", LOADS[1]), AGAIN),
    "a pass reads always the first image": (reads("p0[0, lane, row, i3]", LOADS[1]), AGAIN),
    "the result is stored in both passes": (
        (SCALE, f"result_0[image, lane, row, 0] = T.float32(0)\n{' ' * 24}{SCALE}"),
        AGAIN,
    ),
    "nothing is stored": (writes("multiply_2_rows_pass_2[0, 0]", STORE), "moves .* 576 bytes .* 832 .*-256"),
    "the result is read back": ((STORE, STORE + " + result_0[image, i1, row, vector * 4 + lane]"), AGAIN),
    "weights of the first pass stay in secret": (
        (WEIGHTS[1], WEIGHTS[1].replace("p1", "weight_0_1_pass_1")),
        "holds on chip 136 bytes",
    ),
    "weights are not loaded": (reads("T.float32(1)", WEIGHTS[1]), "moves .* 800 bytes .* 832 .*-32"),
    "weights are loaded in part": (
        reads("p1[lane]", WEIGHTS[0].replace("[vector * 4 + lane] =", "[vector * 4 + lane] =")),
        AGAIN,
    ),
    "weights are read from DRAM for every row": ((PRODUCT, f"{PRODUCT} + p1[lane]"), AGAIN),
    "a map of the first pass is read in the second": (
        (PRODUCT, PRODUCT.replace("conv2d_0_rows_pass_2", "conv2d_0_rows_pass_1")),
        "holds on chip 152 bytes",
    ),
    "a map held whole instead": (
        (allocated("conv2d_0_rows_pass_2", 1, 8), allocated("conv2d_0_rows_pass_2", 4, 8)),
        "holds on chip 216 bytes",
    ),
    "a row too many in the pass that needs most": (
        (allocated("multiply_2_rows_pass_2", 1, 8), allocated("multiply_2_rows_pass_2", 2, 8)),
        "holds on chip 152 bytes",
    ),
    "a row of the image before": (
        (PRODUCT, f"{PRODUCT} * multiply_2_rows_pass_2[0, lane]"),
        "'multiply_2_rows_pass_2' is read before it is written",
    ),
    "a scale of the image before": (
        (SCALE, SCALE.replace("= ", "= global_avg_pool2d_1_rows[0, lane] + ")),
        "'global_avg_pool2d_1_rows' is read before it is written",
    ),
    "a scale counted as a sum": (
        (
            allocated("global_avg_pool2d_1_rows", 1, 2),
            allocated("global_avg_pool2d_1_rows", 1, 2).replace("sram", "accumulator"),
        ),
        "holds on chip 112 bytes",
    ),
    "a buffer of another scope": (
        (allocated("input_0_rows_pass_1", 1, 8), allocated("input_0_rows_pass_1", 1, 8).replace("sram", "other")),
        "'input_0_rows_pass_1' is in neither scope",
    ),
    "the second pass leaves its last event out": ((SECOND, "for event in range(12):"), "not executed once"),
    "the second pass executes the first one's events": (
        ("program[10 + event, 1]", "program[event, 1]"),
        "a condition that is not known",
    ),
    "a pass in every image inside another loop": (
        ("for image in range(2):", "for image, again in T.grid(2, 2):"),
        AGAIN,
    ),
    "where a value decides": (
        (LOADS[1], f"if input_0_rows_pass_2[0, 0] < T.float32(0):\n{' ' * 32}{LOADS[1]}"),
        "a condition that is not known before it runs",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str) -> None:
    change, message = TAMPERED[name]
    assert_found(edited_module(golden.lowered(), change), message)


PROGRAMS: dict[str, tuple[tuple[int, int], int, str]] = {
    # Which number of the program becomes which other one.
    "the second pass loads no weights": ((10, 0), 1, "'weight_0_1_pass_2' is read before it is written"),
    "the first pass loads its weights twice": ((1, 0), 0, AGAIN),
    "a row is read twice": ((3, 1), 0, AGAIN),
    "a row is made instead of read": ((3, 0), 2, "moves .* 768 bytes .*-64"),
    "a row that is not there": ((3, 1), 4, "outside of its shape"),
    "a row is written twice": ((16, 1), 0, AGAIN),
    "a row is never written": ((22, 0), 2, "'result_0' crosses with 192 of its 256 bytes"),
    "the scale is never made": ((9, 0), 2, "'global_avg_pool2d_1_rows' is read before it is written"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_of_other_events(name: str) -> None:
    place, number, message = PROGRAMS[name]
    program = np.array(golden.PROGRAM, np.int32)
    program[place] = number
    assert_found(with_program(golden.lowered(), program), message)


def test_what_is_changed_is_what_the_pass_reads() -> None:
    assert_read_back(golden.lowered(), np.array(golden.PROGRAM, np.int32))


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("attribute", "value"), [(IR_BUFFER_BYTES, 120), (IR_DRAM_BYTES, 832)])
def test_attribute_that_is_off_by_one(attribute: str, value: int, by: int) -> None:
    assert_off_by_one_is_found(golden.lowered(), attribute, value, by)


def test_memory_map_of_the_golden_group() -> None:
    """What is there in one pass does not overlap, and the scale, which is there in both, lies apart from all."""
    function = VerifyMemory(buffer_bytes=120)(golden.lowered())[NAME]
    places = {str(name): (int(address), int(size)) for name, address, size in function.attrs[MEMORY_MAP]}
    scale = "global_avg_pool2d_1_rows"
    first = {"conv2d_0_rows_pass_1": 32, "input_0_rows_pass_1": 32, "weight_0_1_pass_1": 16}
    second = {"multiply_2_rows_pass_2": 32, "conv2d_0_rows_pass_2": 32, "input_0_rows_pass_2": 32}
    second |= {"weight_0_1_pass_2": 16}
    assert {name: size for name, (_, size) in places.items()} == {**first, **second, scale: 8}
    for names in (first, second):
        spans = sorted((places[name][0], sum(places[name])) for name in (*names, scale))
        assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(spans))
    assert max(map(sum, places.values())) == 120
    assert int(function.attrs[ACCUMULATOR_BYTES]) == 8


def test_what_does_not_fit_the_buffer() -> None:
    assert_needs(golden.lowered(), 120)
