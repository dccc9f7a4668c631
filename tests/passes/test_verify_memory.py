"""VerifyMemory: what was tampered with is found and named; what is not lowered comes back as it is."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from typing import Any

import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.golden import lower_line_buffer as golden
from tests.passes.modules import copied, run, stepwise
from tests.passes.networks import NETWORKS, named, plan_of, whole
from tests.passes.tampering import NAME, edited, lowered, with_function
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import MemoryMismatchError
from tvm_fusion.passes import FuseByPlan, LowerGroups, extract
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    MEMORY_MAP,
    group_functions,
)
from tvm_fusion.passes.execute import largest_relative_error, random_inputs
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.verify_memory import VerifyMemory

LOWERED = [name for name in NETWORKS if name != "tuple of an operator"]  # topk stays with TVM


def test_script_reads_back_as_the_function_that_was_written() -> None:
    """What the edits below rest on."""
    tvm.ir.assert_structural_equal(edited()[NAME], lowered()[NAME])
    VerifyMemory()(edited())


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize(("attribute", "what"), [
    (IR_BUFFER_BYTES, "holds on chip"),
    (IR_DRAM_BYTES, "moves from and to DRAM"),
])  # fmt: skip
def test_attribute_that_is_off_by_one(attribute: str, what: str, by: int) -> None:
    function = lowered()[NAME]
    value = int(function.attrs[attribute])
    message = f"{NAME} {what} {value} bytes by its TIR, {value + by} by the cost model: {-by:+d}"
    with pytest.raises(MemoryMismatchError, match=re.escape(message)):
        VerifyMemory()(with_function(function.with_attr(attribute, value + by)))


@pytest.mark.parametrize(("lines", "by"), [(2, -32), (4, 32)])
def test_ring_with_another_number_of_lines(lines: int, by: int) -> None:
    ring = "input_0_rows = T.alloc_buffer(({}, 8)"
    message = f"{NAME} holds on chip {320 + by} bytes by its TIR, 320 by the cost model: {by:+d}"
    with pytest.raises(MemoryMismatchError, match=re.escape(message)):
        VerifyMemory()(edited((ring.format(3), ring.format(lines))))


def test_input_of_the_shape_and_dtype_of_the_program() -> None:
    def build(emit: Any, x: Any) -> Any:
        tripled = emit(op.multiply(emit(op.maximum(x, relax.const(1))), relax.const(3)))
        return op.maximum(tripled, relax.const(9))

    mod = stepwise(build, (6, 2), dtype="int32")
    rows = LowerLineBuffer()(FuseByPlan(whole(extract(mod).graph), Accelerator())(mod))
    program, x = rows[NAME].params[1], rows[NAME].params[0]
    assert [int(size) for size in program.shape] == [int(size) for size in x.shape] == [6, 2]
    VerifyMemory()(rows)


def test_call_without_its_program() -> None:
    """A main that passes no constant last."""
    mod = lowered()
    others = {var: function for var, function in mod.functions.items() if var.name_hint != "main"}
    bare = tvm.IRModule({**others, tvm.ir.GlobalVar("main"): golden.before()["main"]})
    with pytest.raises(MemoryMismatchError, match=f"{NAME}: main does not call it with its row program"):
        VerifyMemory()(bare)


def placed(mod: tvm.IRModule) -> dict[str, tuple[int, int]]:
    """Address and size of everything in the memory map of the first group."""
    entries = group_functions(mod)[NAME][MEMORY_MAP]
    found = {str(name): (int(address), int(size)) for name, address, size in entries}
    assert len(found) == len(entries)
    return found


def test_memory_map_of_the_golden_group() -> None:
    verified = VerifyMemory()(lowered())
    assert placed(verified) == {
        "add_3_rows": (0, 32),
        "relu_1_rows": (32, 32),
        "input_0_rows": (64, 96),
        "weight_0_1": (160, 144),
        "weight_2_1": (304, 16),
    }
    assert int(verified[NAME].attrs[ACCUMULATOR_BYTES]) == 0


@pytest.mark.parametrize("alignment", [1, 4, 64, 100, 4096])
@pytest.mark.parametrize("name", LOWERED)
def test_addresses_are_multiples_of_the_alignment_and_apart(name: str, alignment: int) -> None:
    mod = named(name)
    rows = LowerLineBuffer()(FuseByPlan(whole(extract(mod).graph), Accelerator())(mod))
    places = sorted(placed(VerifyMemory(alignment=alignment)(rows)).values())
    assert all(address % alignment == 0 for address, _ in places)
    assert all(a + size <= b for (a, size), (b, _) in itertools.pairwise(places))
    total = sum(size for _, size in places)
    assert total == int(rows[NAME].attrs[IR_BUFFER_BYTES])
    end = places[-1][0] + places[-1][1]
    assert end >= total
    assert alignment > 1 or end == total


def test_what_does_not_fit_the_buffer() -> None:
    VerifyMemory(buffer_bytes=320)(lowered())
    with pytest.raises(MemoryMismatchError, match=f"{NAME}.* end at byte 320 .*the buffer has 319"):
        VerifyMemory(buffer_bytes=319)(lowered())
    with pytest.raises(MemoryMismatchError, match=rf"{NAME}.* \(alignment 100\); the buffer has 320"):
        VerifyMemory(alignment=100, buffer_bytes=320)(lowered())


@pytest.mark.parametrize("alignment", [0, -8])
def test_refuses_an_alignment_below_one(alignment: int) -> None:
    with pytest.raises(MemoryMismatchError, match=f"alignment {alignment} is not allowed"):
        VerifyMemory(alignment=alignment)


def test_scope_is_the_one_that_the_lowering_used() -> None:
    mod = golden.before()
    grouped = FuseByPlan(whole(extract(mod).graph), Accelerator())(mod)
    other = LowerLineBuffer(scope="global.other")(grouped)
    assert placed(VerifyMemory(scope="global.other")(other)) == placed(VerifyMemory()(lowered()))
    with pytest.raises(MemoryMismatchError, match="holds on chip 0 bytes"):
        VerifyMemory()(other)


NOT_LOWERED: dict[str, Callable[[], tvm.IRModule]] = {
    "no groups": lambda: named("residual"),
    "grouped": lambda: FuseByPlan(plan_of(extract(named("residual")).graph), Accelerator())(named("residual")),
    "lowered by TVM": lambda: LowerGroups()(
        FuseByPlan(plan_of(extract(named("residual")).graph), Accelerator())(named("residual"))
    ),
}


@pytest.mark.parametrize("name", NOT_LOWERED)
def test_module_without_lowered_groups_comes_back_as_it_is(name: str) -> None:
    mod = NOT_LOWERED[name]()
    tvm.ir.assert_structural_equal(VerifyMemory()(mod), mod)


def test_leaves_its_input_as_it_is() -> None:
    before = copied(lowered())
    VerifyMemory()(lowered())
    tvm.ir.assert_structural_equal(lowered(), before)


def test_map_stands_when_the_rest_is_lowered_and_runs() -> None:
    mod = golden.before()
    rest = LowerGroups()(VerifyMemory()(lowered()))
    assert placed(rest) == placed(VerifyMemory()(lowered()))
    inputs = random_inputs(mod)
    assert largest_relative_error(run(rest, inputs), run(mod, inputs)) < 1e-4
