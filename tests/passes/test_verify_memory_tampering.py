"""VerifyMemory finds what was changed in the copies between DRAM and the chip, and says what it is."""

from __future__ import annotations

import numpy as np
import pytest

from tests.golden import lower_line_buffer as golden
from tests.passes.tampering import (
    AGAIN,
    LOAD,
    OUTSIDE,
    STORE,
    Change,
    assert_found,
    edited,
    indented,
    lowered,
    reads,
    with_program,
    with_tails,
    writes,
)
from tvm_fusion.passes.verify_memory import VerifyMemory

WEIGHT = "weight_2_1[vector * 4 + lane] = p2[vector * 4 + lane]"
WEIGHTS = "weight_0_1[vector * 4 + lane] = p1[vector * 4 + lane]"
SCRATCH = "sums = T.alloc_local((8,))"
ROW = 'T.alloc_buffer((1, 8), scope="global.sram")'
SUM = "add_3_rows[0, column * 2 + lane] = sums[column * 2 + lane]"
PROGRAM = "for event in range(20):"
UNKNOWN = "at unknown places"
UNDECIDED = "a condition that is not known before it runs"


TAMPERED: dict[str, tuple[Change, str]] = {
    "an input row is read twice": ((LOAD, LOAD + " + p0[i0, lane, row, i3]"), AGAIN),
    "an input row is read again for an operator": ((SUM, SUM + " + p0[0, lane, row, column]"), AGAIN),
    "always the first row is read": (reads("p0[i0, lane, 0, i3]"), AGAIN),
    "one column is read": (reads("p0[i0, lane, row, 0]"), AGAIN),
    "the next row is read": (reads("p0[i0, lane, row + 1, i3]"), UNKNOWN),
    "an element is read backwards": (reads("p0[i0, lane, row, 3 - i3]"), AGAIN),
    "nothing is stored": (writes("add_3_rows[0, 0]"), "288 .* 416 .*-128"),
    "the first row alone is stored": (writes("result_0[i0, i1, 0, vector * 4 + lane]"), AGAIN),
    "a row is stored by two operators": (
        (SUM, f"{SUM}\n                            result_0[0, lane, row, column] = T.float32(0)"),
        AGAIN,
    ),
    "a row is stored twice in a statement": ((STORE, f"{STORE}\n                            {STORE}"), AGAIN),
    "the result is read back": ((STORE, STORE + " + result_0[i0, i1, row, vector * 4 + lane]"), AGAIN),
    "a weight is not loaded": (reads("T.float32(1)", WEIGHT), "400 .* 416 .*-16"),
    "a weight is read from DRAM when it is used": (
        ("* weight_2_1[input * 2 + lane]", "* p2[input * 2 + lane]"),
        AGAIN,
    ),
    "a weight is loaded for every row": (
        (
            "                for vector in range(2):\n",
            f"{' ' * 16}for vector, lane in T.grid(1, 4):\n{' ' * 20}{WEIGHT}\n{' ' * 16}for vector in range(2):\n",
        ),
        AGAIN,
    ),
    "vectors overlap by an element": (reads("p1[vector * 3 + lane]", WEIGHTS), AGAIN),
    "vectors leave a gap": (reads("p1[vector * 5 + lane]", WEIGHTS), AGAIN),
    "vectors begin at the second element": (reads("p1[vector * 4 + lane + 1]", WEIGHTS), OUTSIDE),
    "one vector less is loaded": (("for vector in range(9):", "for vector in range(8):"), r"128 of its 144 bytes"),
    "one vector more is loaded": (("for vector in range(9):", "for vector in range(10):"), OUTSIDE),
    "lanes have no place": (reads("p1[vector * 4]", WEIGHTS), AGAIN),
    "more lanes are read than there are": (
        (
            f"for i0, i3 in T.grid(1, 4):\n{' ' * 20}for lane in T.vectorized(2):",
            f"for i0, i3 in T.grid(1, 4):\n{' ' * 20}for lane in T.vectorized(4):",
        ),
        OUTSIDE,
    ),
    "rows are loaded where a value decides": (indented(LOAD, "if input_0_rows[0, 0] < T.float32(0):", 24), UNDECIDED),
    "elements are loaded where their place decides": (indented(LOAD, "if i3 < 3:", 24), UNDECIDED),
    "rows are loaded where another row decides": (indented(LOAD, "if row < 3:", 24), UNDECIDED),
    "one of the rows is loaded": (indented(LOAD, "if row == 1:", 24), "32 of its 128 bytes"),
    "rows are loaded while something holds": (
        indented(LOAD, "while input_0_rows[0, 0] < T.float32(0):", 24),
        "a statement While",
    ),
    "rows are of another number than the program's": (
        (
            'row: T.let[T.int64] = T.Cast("int64", program[event, 1])',
            'row: T.let[T.int64] = T.Cast("int64", program[event, 1]) % 4',
        ),
        UNKNOWN,
    ),
    "the whole program runs twice": ((PROGRAM, "for again, event in T.grid(2, 20):"), AGAIN),
    "a part of the program runs": ((PROGRAM, "for event in range(19):"), "not executed once"),
    "a buffer of another scope": (
        (SCRATCH, 'sums = T.alloc_buffer((8,), scope="global.other")'),
        "'sums' is in neither scope",
    ),
    "a line buffer counted as a sum": (
        (f"relu_1_rows = {ROW}", f"relu_1_rows = {ROW}".replace("sram", "accumulator")),
        r"288 bytes .* 320 .*-32",
    ),
    "a line buffer counted as registers": (
        (f"relu_1_rows = {ROW}", f"relu_1_rows = {ROW}".replace("global.sram", "local")),
        r"288 bytes .* 320 .*-32",
    ),
}
TAMPERED_VALUES: dict[str, tuple[Change, str]] = {
    "one column twice, another one never": (reads("p0[i0, lane, row, T.Select(i3 == 2, 0, i3)]"), UNKNOWN),
    "the same by arithmetic": (reads("p0[i0, lane, row, i3 + i3 // 2 * (i3 % 2 - 1) * 2]"), UNKNOWN),
    "places that are no sum of steps": (
        reads("p1[vector * 4 + lane + vector * (8 - vector) * lane * (3 - lane)]", WEIGHTS),
        UNKNOWN,
    ),
    "a value decides within an expression": (
        reads("T.if_then_else(input_0_rows[0, 0] < T.float32(0), p0[i0, lane, row, i3], T.float32(0))"),
        UNDECIDED,
    ),
    "a call that takes the address of a parameter": (
        (LOAD, LOAD + ' + T.call_extern("float32", "sum_of_all", p0.data)'),
        "p0",
    ),
    "registers that hold a whole input": ((SCRATCH, "sums = T.alloc_local((80000,))"), "sums"),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_tampering_is_found(name: str) -> None:
    change, message = TAMPERED[name]
    assert_found(edited(change), message)


@pytest.mark.parametrize("name", TAMPERED_VALUES)
def test_tampering_with_places_and_conditions_is_found(name: str) -> None:
    change, message = TAMPERED_VALUES[name]
    assert_found(edited(change), message)


TAIL = "result_0[image, i1, row, 4 + lane] = relu_1_rows[0, lane * 3 + i1 + 12]"
VECTORS = "result_0[image, i1, row, vector * 4 + lane] = relu_1_rows[0, vector * 12 + lane * 3 + i1]"
TAIL_LOOP = f"for lane in T.vectorized({{}}):\n{' ' * 24}result_0[image, i1, row, 4"
TAMPERED_TAILS: dict[str, tuple[Change, str]] = {
    "the tail overlaps the vectors by one": (writes("result_0[image, i1, row, 3 + lane]", TAIL), AGAIN),
    "the tail overlaps the vectors wholly": (writes("result_0[image, i1, row, lane]", TAIL), AGAIN),
    "the tail leaves a gap and steps over the end": (writes("result_0[image, i1, row, 5 + lane]", TAIL), OUTSIDE),
    "the tail begins before the row": (writes("result_0[image, i1, row, lane - 1]", TAIL), OUTSIDE),
    "the tail is too short": ((TAIL_LOOP.format(3), TAIL_LOOP.format(2)), "576 of its 672 bytes"),
    "the tail is too long": ((TAIL_LOOP.format(3), TAIL_LOOP.format(4)), OUTSIDE),
    "the vectors begin later": (writes("result_0[image, i1, row, vector * 4 + lane + 1]", VECTORS), AGAIN),
    "there is no tail": (writes("relu_1_rows[0, lane]", TAIL), "384 of its 672 bytes"),
    "an element of the tail alone": (
        ("weight_0_1[80] = p1[80]", "weight_0_1[80] = p1[79]"),
        AGAIN,
    ),
    "an element behind the end": (("weight_0_1[80] = p1[80]", "weight_0_1[80] = p1[81]"), OUTSIDE),
    "a tail for a channel": (writes("result_0[image, 0, row, 4 + lane]", TAIL), AGAIN),
    "a tail for an image": (writes("result_0[0, i1, row, 4 + lane]", TAIL), AGAIN),
}


@pytest.mark.parametrize("name", TAMPERED_TAILS)
def test_tampering_with_a_tail_is_found(name: str) -> None:
    change, message = TAMPERED_TAILS[name]
    assert_found(edited(change, build=with_tails), message)


def test_vectors_and_tail_may_come_in_either_order() -> None:
    """The values are wrong, but every element crosses once: no matter of the memory."""
    VerifyMemory()(
        edited(
            writes("result_0[image, i1, row, vector * 4 + lane + 3]", VECTORS),
            writes("result_0[image, i1, row, lane]", TAIL),
            build=with_tails,
        )
    )


PROGRAMS: dict[str, tuple[int, tuple[int, int], str]] = {
    # Which event becomes which other one; the program of the golden group is golden.EVENTS.
    "a row is written twice": (-1, (4, 2), "parameter 4 .*" + AGAIN),
    "a row is read twice": (11, (0, 2), "parameter 0 .*" + AGAIN),
    "a row is read that is not there": (11, (0, 4), f"'p0' .*{OUTSIDE}"),
    "a row is never read": (11, (2, 2), "'p0' crosses with 96 of its 128 bytes"),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_that_moves_other_rows(name: str) -> None:
    event, entry, message = PROGRAMS[name]
    program = np.array(golden.EVENTS, np.int32)
    program[event] = entry
    assert_found(with_program(lowered(), program), message)


def test_replaced_program_is_what_the_pass_reads() -> None:
    """What the test above rests on."""
    VerifyMemory()(with_program(lowered(), np.array(golden.EVENTS, np.int32)))
