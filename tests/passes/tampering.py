"""Lowered groups with something in their TIR changed, for the tests of VerifyMemory."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tvm
from tvm import relax
from tvm.relax import op

from tests.golden import lower_line_buffer as golden
from tests.passes.modules import conv, stepwise
from tests.passes.networks import whole
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.errors import MemoryMismatchError
from tvm_fusion.passes import FuseByPlan, extract
from tvm_fusion.passes.lower_line_buffer import LowerLineBuffer
from tvm_fusion.passes.relax_tools import op_name
from tvm_fusion.passes.verify_memory import VerifyMemory

NAME = "fused_group_0"
Change = tuple[str, str]
# What VerifyMemory says.
AGAIN = "at one place several times"
OUTSIDE = "outside of its shape"
UNKNOWN = "not known before it runs"
# How the golden group reads a row of its input and writes one of its result.
LOAD = "input_0_rows[row % 3, i3 * 2 + i0 * 2 + lane] = p0[i0, lane, row, i3]"
STORE = "result_0[i0, i1, row, vector * 4 + lane] = add_3_rows[0, vector * 8 + lane * 2 + i0 * 2 + i1]"


def with_tails() -> tvm.IRModule:
    """Two images through conv3x3 -> relu: rows of seven columns by three channels, 81 numbers of weights."""
    return stepwise(lambda emit, x: op.nn.relu(emit(conv(x, 3))), (2, 3, 4, 7))


@functools.cache
def lowered(build: Callable[[], tvm.IRModule] = golden.before) -> tvm.IRModule:
    """A network as one group for vectors of four; the golden one has 320 bytes on chip, 416 from and to DRAM."""
    mod = build()
    return LowerLineBuffer()(FuseByPlan(whole(extract(mod).graph), Accelerator())(mod))


def with_function(function: Any, build: Callable[[], tvm.IRModule] = golden.before) -> tvm.IRModule:
    """The lowered module with another PrimFunc for its group."""
    return replaced(lowered(build), function)


def replaced(mod: tvm.IRModule, function: Any) -> tvm.IRModule:
    """A module with another PrimFunc for its group."""
    result = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs, global_infos=mod.global_infos)
    result[NAME] = function
    return result


def edited(*changes: Change, build: Callable[[], tvm.IRModule] = golden.before) -> tvm.IRModule:
    """The lowered module with parts of its group's TVMScript replaced, each of which must be there."""
    return edited_module(lowered(build), *changes)


def edited_module(mod: tvm.IRModule, *changes: Change) -> tvm.IRModule:
    """The same of any module with one lowered group."""
    text = mod[NAME].script()
    for old, new in changes:
        assert wide(old) in text, wide(old)
        text = text.replace(wide(old), wide(new), 1)
    return replaced(mod, tvm.script.from_source(text))


def wide(text: str) -> str:
    """Whole numbers as TVMScript prints those of 64 bits."""
    return re.sub(r"(?<![\w.])(\d+)(?![\w.])", r"T.int64(\1)", text)


def with_program(mod: tvm.IRModule, program: np.ndarray) -> tvm.IRModule:
    """A module with one lowered group, to which main passes another program."""

    @relax.expr_functor.mutator
    class Replaced(relax.PyExprMutator):
        def visit_call_(self, call: Any) -> Any:
            if op_name(call) != "call_tir":
                return call
            arguments = [*call.args[1].fields[:-1], relax.const(program)]
            return relax.call_tir(call.args[0], arguments, list(getattr(call.ty, "fields", [call.ty])))

    result = tvm.IRModule(dict(mod.functions.items()), attrs=mod.attrs, global_infos=mod.global_infos)
    result["main"] = Replaced().visit_expr(mod["main"])
    return result


def reads(places: str, of: str = LOAD) -> Change:
    """A copy that reads at other places."""
    return of, of.replace(re.findall(r" = (\w+\[.*\])$", of)[0], places)


def writes(places: str, of: str = STORE) -> Change:
    """A copy that writes at other places."""
    return of, of.replace(re.findall(r"^(\w+\[.*?\]) = ", of)[0], places)


def indented(statement: str, header: str, spaces: int) -> Change:
    """A statement, which stands at so many spaces, inside another one."""
    return statement, f"{header}\n{' ' * (spaces + 4)}{statement}"


def allocated(name: str, first: int, elements: int) -> str:
    """The statement that makes a buffer of two axes on chip."""
    return f'{name} = T.alloc_buffer(({first}, {elements}), scope="global.sram")'


def assert_found(mod: tvm.IRModule, message: str) -> None:
    """VerifyMemory fails, and says so of the group."""
    with pytest.raises(MemoryMismatchError, match=rf"^{NAME}\b.*({message})"):
        VerifyMemory()(mod)


def assert_off_by_one_is_found(mod: tvm.IRModule, attribute: str, value: int, by: int) -> None:
    """Whose group's attribute, rightly ``value``, is off by ``by``, 1 or -1."""
    message = rf" {value} bytes by its TIR, {value + by} by the cost model: {'[+]' if by < 0 else '-'}1$"
    assert_found(replaced(mod, mod[NAME].with_attr(attribute, value + by)), message)


def assert_read_back(mod: tvm.IRModule, program: np.ndarray | None = None) -> None:
    """What the tests of tampering rest on: a group, printed and read, is the same one, with this program too."""
    tvm.ir.assert_structural_equal(edited_module(mod)[NAME], mod[NAME])
    VerifyMemory()(edited_module(mod))
    if program is not None:
        VerifyMemory()(with_program(mod, program))


def assert_needs(mod: tvm.IRModule, size_bytes: int) -> None:
    """The addresses of the group end at byte ``size_bytes``: a buffer of one byte less is refused."""
    with pytest.raises(
        MemoryMismatchError, match=f"{NAME}.* end at byte {size_bytes} .*the buffer has {size_bytes - 1}"
    ):
        VerifyMemory(buffer_bytes=size_bytes - 1)(mod)
    VerifyMemory(buffer_bytes=size_bytes)(mod)
