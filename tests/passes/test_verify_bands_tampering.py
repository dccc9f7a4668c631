"""VerifyMemory finds what was changed in a group in bands, and says what it is."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from tests.golden import lower_bands as golden
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
    with_program,
    writes,
)
from tvm_fusion.passes.attributes import ACCUMULATOR_BYTES, IR_BUFFER_BYTES, IR_DRAM_BYTES, MEMORY_MAP
from tvm_fusion.passes.verify_memory import VerifyMemory

LOAD = "input_0_rows[row % 3, i3 * 2 + i0 * 2 + lane] = p0[i0, lane, row, i3]"
STORE = "result_0[i0, i1, row, vector * 4 + lane] = add_3_rows[row % 2, vector * 8 + lane * 2 + i0 * 2 + i1]"
PASSES = "weight_0_1[vector * 4 + lane] = p1[tile * 18 + vector * 4 + lane]"
TAIL = "weight_0_1[lane + 16] = p1[tile * 18 + lane + 16]"
STAYS = "weight_2_1[vector * 4 + lane] = p2[vector * 4 + lane]"
RELU = "relu_1_rows[row % 2, vector * 4 + lane] = T.max("
LINEAR = "* weight_2_1[input * 2 + lane]"
NOT_MADE = "of which the band has made or loaded none"


def loop(column: int) -> str:
    """The head of a loop over rows."""
    return f'for r in range(T.Cast("int64", program[band, {column}])):'


def row(column: int) -> str:
    """What the row of a step is."""
    return f'row: T.let[T.int64] = T.Cast("int64", program[band, {column}]) + r'


TAMPERED: dict[str, tuple[Change, str]] = {
    "an input row is read twice": ((LOAD, LOAD + " + p0[i0, lane, row, i3]"), AGAIN),
    "an input row is read again by an operator": ((RELU, RELU + "p0[0, 0, row, lane] + "), AGAIN),
    "always the first row is read": (reads("p0[i0, lane, 0, i3]", LOAD), AGAIN),
    "one column is read": (reads("p0[i0, lane, row, 0]", LOAD), AGAIN),
    "the next row is read": (reads("p0[i0, lane, row + 1, i3]", LOAD), OUTSIDE),
    "every second row is read": (reads("p0[i0, lane, row + r, i3]", LOAD), OUTSIDE),
    "the first row of the input is left out": (reads("p0[i0, lane, row + 1 - band, i3]", LOAD), "96 of its 128 bytes"),
    "rows that belong to no band are read": ((row(0), row(0).replace("+ r", "+ r * 9")), OUTSIDE),
    "as many rows are read as another step has": ((loop(1), loop(3)), "96 of its 128 bytes"),
    "nothing is stored": (writes("add_3_rows[0, 0]", STORE), "moves .* 496 bytes .* 624 .*-128"),
    "rows of the next band are stored too": ((loop(11), loop(1)), OUTSIDE),
    "the same rows are stored in every band": ((row(10), row(10).replace("[band, 10]", "[0, 10]")), AGAIN),
    "the result is read back": ((STORE, STORE + " + result_0[i0, i1, row, vector * 4 + lane]"), AGAIN),
    "a weight that stays is not loaded": (reads("T.float32(1)", STAYS), "moves .* 608 bytes .* 624 .*-16"),
    "a weight that stays is read from DRAM in every band": ((LINEAR, "* p2[input * 2 + lane]"), AGAIN),
    "a weight passes without its tail": (reads("T.float32(1)", TAIL), "'p1' crosses in part in a band"),
    "always the first channel's weights pass": (reads("p1[vector * 4 + lane]", PASSES), AGAIN),
    "weights pass only in the second band": (indented(PASSES, "if band == 1:", 20), "a condition that is " + UNKNOWN),
    "another part of the weights is read for each row": (
        reads("p1[program[band, 2] * 18 + vector * 4 + lane]", PASSES),
        AGAIN,
    ),
    "rows are loaded where a value decides": (
        (LOAD, f"if input_0_rows[0, 0] < T.float32(0):\n{' ' * 24}{LOAD}"),
        "a condition that is " + UNKNOWN,
    ),
    "rows are loaded while something holds": (
        (LOAD, f"while input_0_rows[0, 0] < T.float32(0):\n{' ' * 24}{LOAD}"),
        "a statement While",
    ),
    "a value decides within an expression": (
        reads("T.if_then_else(input_0_rows[0, 0] < T.float32(0), p0[i0, lane, row, i3], T.float32(0))", LOAD),
        "a condition that is " + UNKNOWN,
    ),
    "rows are as many as a value says": (
        (loop(1), 'for r in range(T.Cast("int64", input_0_rows[0, 0])):'),
        "a place that is " + UNKNOWN,
    ),
    "a row of another program line": (
        (row(0), row(0).replace("[band, 0]", "[band + 1, 0]")),
        "a place that is " + UNKNOWN,
    ),
    "a loop over bands inside another one": (
        ("for band in range(2):", "for again, band in T.grid(2, 2):"),
        AGAIN,
    ),
    "a call that takes the address of a parameter": (
        (LOAD, LOAD + ' + T.call_extern("float32", "sum_of_all", p0.data)'),
        "p0",
    ),
    "a band held for longer": (
        ("vector * 4 + lane] = conv2d_2_rows", "vector * 4 + lane] = conv2d_0_rows[0, 0] + conv2d_2_rows"),
        "holds on chip 304 bytes .*",
    ),
    "a band of the band before": (
        (RELU, RELU + "add_3_rows[row % 2, vector * 4 + lane] + "),
        "'add_3_rows' is read before it is written",
    ),
    "a buffer that stays, unseen": (
        (STAYS, STAYS + f"\n{' ' * 12}relu_1_rows[0, 0] = T.float32(0)"),
        "holds on chip 312 bytes",
    ),
    "more rows than there is room for": (
        (allocated("relu_1_rows", 2, 8), allocated("relu_1_rows", 1, 8)),
        "'relu_1_rows' is read or written outside of its 1 rows",
    ),
    "a band counted as a sum": (
        (allocated("conv2d_0_rows", 2, 8), allocated("conv2d_0_rows", 2, 8).replace("sram", "accumulator")),
        "holds on chip",
    ),
    "a buffer of another scope": (
        (allocated("conv2d_0_rows", 2, 8), allocated("conv2d_0_rows", 2, 8).replace("sram", "other")),
        "holds on chip",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str) -> None:
    change, message = TAMPERED[name]
    assert_found(edited_module(golden.lowered(), change), message)


PROGRAMS: dict[str, tuple[tuple[int, int], int, str]] = {
    # Which number of the program becomes which other one.
    "a row is loaded by no band": ((1, 1), 2, "crosses with 96 of its 128 bytes"),
    "a halo row is not loaded": ((0, 1), 2, "'input_0_rows' is read at rows " + NOT_MADE),
    "a band makes a row less": ((1, 3), 1, "'conv2d_0_rows' is read at rows " + NOT_MADE),
    "a row is written twice": ((1, 10), 1, AGAIN),
    "a row is written that is not there": ((1, 10), 3, f"'result_0' .*{OUTSIDE}"),
    "a row is never written": ((1, 11), 1, "'result_0' crosses with 96 of its 128 bytes"),
    "more rows than a band has room for": ((1, 5), 3, "'relu_1_rows' has 2 rows for 3 at a time"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_of_other_rows(name: str) -> None:
    place, number, message = PROGRAMS[name]
    program = np.array(golden.PROGRAM, np.int32)
    program[place] = number
    assert_found(with_program(golden.lowered(), program), message)


def test_what_is_changed_is_what_the_pass_reads() -> None:
    assert_read_back(golden.lowered(), np.array(golden.PROGRAM, np.int32))


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("attribute", "value"), [(IR_BUFFER_BYTES, 248), (IR_DRAM_BYTES, 624)])
def test_attribute_that_is_off_by_one(attribute: str, value: int, by: int) -> None:
    assert_off_by_one_is_found(golden.lowered(), attribute, value, by)


def test_memory_map_of_the_golden_group() -> None:
    """Both convolutions' results lie where nothing else is meanwhile; the weights that stay lie apart from all."""
    function = VerifyMemory(buffer_bytes=248)(golden.lowered())[NAME]
    places = {str(name): (int(address), int(size)) for name, address, size in function.attrs[MEMORY_MAP]}
    sizes = {"add_3_rows": 64, "conv2d_2_rows": 64, "relu_1_rows": 64, "conv2d_0_rows": 64, "input_0_rows": 96}
    assert {name: size for name, (_, size) in places.items()} == sizes | {"weight_0_1": 72, "weight_2_1": 16}
    together = [
        ("input_0_rows", "weight_0_1", "conv2d_0_rows"),
        ("input_0_rows", "conv2d_0_rows", "relu_1_rows"),
        ("input_0_rows", "relu_1_rows", "conv2d_2_rows"),
        ("input_0_rows", "conv2d_2_rows", "add_3_rows"),
    ]
    for names in together:
        spans = sorted((places[name][0], sum(places[name])) for name in (*names, "weight_2_1"))
        assert all(end <= first for (_, end), (first, _) in itertools.pairwise(spans))
    assert max(map(sum, places.values())) == 248
    assert int(function.attrs[ACCUMULATOR_BYTES]) == 0


def test_what_does_not_fit_the_buffer() -> None:
    assert_needs(golden.lowered(), 248)
