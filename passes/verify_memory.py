"""VerifyMemory: whether lowered groups hold on chip and move what the cost model says, read off their TIR."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.ir import IRModule

from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits
from tvm_fusion.errors import MemoryMismatchError
from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    MEMORY_MAP,
    OPERANDS,
    SCHEME,
    WEIGHT,
    group_functions,
)
from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, buffer_bytes
from tvm_fusion.passes.lowering.accesses import Accesses, Box, accesses, moved_bytes
from tvm_fusion.passes.lowering.address_layout import Stay, address_layout, layout_end
from tvm_fusion.passes.lowering.band_accesses import band_accesses
from tvm_fusion.passes.lowering.band_memory import lives, peak_bytes
from tvm_fusion.passes.lowering.band_memory import moved_bytes as moved_in_bands
from tvm_fusion.passes.lowering.channel_memory import channel_lives
from tvm_fusion.passes.lowering.pass_memory import in_one_image, pass_lives
from tvm_fusion.passes.lowering.pass_memory import peak_bytes as peak_in_passes
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE, DEFAULT_SCOPE, REGISTER_SCOPE
from tvm_fusion.passes.lowering.scheme_writers import BRR, STREAMING, TWO_PASS
from tvm_fusion.passes.lowering.vectors import STACK_BYTES
from tvm_fusion.passes.relax_tools import (
    Array,
    bindings,
    callee_name,
    constant_array,
    is_constant,
    main_function,
    op_name,
)

WRITTEN = -1  # what all blocks write together


@tvm.transform.module_pass(opt_level=0, name="tvm_fusion.VerifyMemory")
class VerifyMemory:
    """Count the bytes that the TIR of every lowered group has on chip in ``scope`` and moves from and to DRAM.

    Raises MemoryMismatchError unless both equal the cost model, at the element widths of the IR, to the byte. In LBDF
    everything is on chip at all times, and results and inputs must cross once and wholly; where threads share a group,
    each may load the halo of its rows once, and what is counted on chip is what one thread has beside all that they
    share. In BRR what counts is the most that is there at one time: of a tensor the rows of its band, from the step
    that makes or loads it to the last one that reads it; an element of an input or weight may cross once in every band.
    In two passes or more it is the most that one pass has there, and an element may cross once in every pass.
    In channel streaming it is the most of all phases, and an element of an input or weight may cross once in every one.

    The functions come back with ``tvm_fusion.memory_map``: [name, address, size] of every buffer at multiples of
    ``alignment`` bytes, where what is there at one time does not overlap, and ``tvm_fusion.accumulator_bytes``, what is
    allocated beside them for sums. ``buffer_bytes``, if given, is what the addresses must not exceed.
    """

    def __init__(self, scope: str = DEFAULT_SCOPE, alignment: int = 1, buffer_bytes: int | None = None) -> None:
        if alignment < 1:
            raise MemoryMismatchError(
                f"alignment {alignment} is not allowed; it must be a whole number of bytes from 1"
            )
        self.scope = scope
        self.alignment = alignment
        self.buffer_bytes = buffer_bytes

    def transform_module(self, mod: IRModule, _context: Any) -> IRModule:
        """The module with the memory map of every lowered group."""
        result = IRModule(dict(mod.functions.items()), attrs=mod.attrs, global_infos=mod.global_infos)
        programs = _programs(mod)
        for name, attributes in group_functions(mod).items():
            if IR_BUFFER_BYTES not in attributes or isinstance(mod[name], relax.Function):  # not lowered by us
                continue
            if name not in programs:
                raise MemoryMismatchError(f"{name}: main does not call it with its row program")
            found = self._checked(name, mod[name], *programs[name], attributes)
            result[name] = mod[name].with_attrs(found)
        return result

    def _checked(
        self, name: str, function: Any, table: int, program: Array, attributes: dict[str, Any]
    ) -> dict[str, Any]:
        try:
            weights = {k for k, operand in enumerate(attributes[OPERANDS]) if int(operand) == WEIGHT}
            found = _MEASURES.get(str(attributes[SCHEME]), _row_by_row)(function, program, table, weights, self.scope)
        except UnknownAccessError as error:
            raise MemoryMismatchError(f"{name}: {error}") from None
        _compare(name, "holds on chip", found.peak_bytes, int(attributes[IR_BUFFER_BYTES]))
        _compare(name, "moves from and to DRAM", found.dram_bytes, int(attributes[IR_DRAM_BYTES]))
        addresses = address_layout(found.stays, self.alignment)
        end = layout_end(found.stays, addresses)
        if self.buffer_bytes is not None and end > self.buffer_bytes:
            raise MemoryMismatchError(
                f"{name}: its line buffers and weights end at byte {end} (alignment {self.alignment}); "
                f"the buffer has {self.buffer_bytes}"
            )
        return {
            MEMORY_MAP: [
                [str(buffer.name), address, stay.size_bytes]
                for buffer, stay, address in zip(found.on_chip, found.stays, addresses, strict=True)
            ],
            ACCUMULATOR_BYTES: self._beside(name, found.buffers),
        }

    def _beside(self, name: str, buffers: list[Any]) -> int:
        """Bytes in the accumulator scope; every other one must be of the scope of line buffers or be registers."""
        others = [buffer for buffer in buffers if buffer.scope() not in (self.scope, REGISTER_SCOPE)]
        strange = [buffer.name for buffer in others if buffer.scope() != ACCUMULATOR_SCOPE]
        if strange:
            raise MemoryMismatchError(f"{name}: buffer {strange[0]!r} is in neither scope of the lowering")
        for buffer in buffers:
            if buffer.scope() == REGISTER_SCOPE and buffer_bytes(buffer) >= STACK_BYTES:
                raise MemoryMismatchError(
                    f"{name}: {buffer.name!r} of {buffer_bytes(buffer)} bytes is too large for registers"
                )
        return sum(map(buffer_bytes, others))


@dataclass(frozen=True)
class _Found:
    """What the TIR of a group holds on chip and moves. ``stays``: of every buffer ``on_chip`` its size and when it is
    there, in steps of a band."""

    buffers: list[Any]
    on_chip: list[Any]
    stays: list[Stay]
    peak_bytes: int
    dram_bytes: int


def _row_by_row(function: Any, program: Array, table: int, weights: set[int], scope: str) -> _Found:
    """LBDF: everything is there at all times."""
    seen = accesses(function, program, table, weights)
    dram_bytes = _dram_bytes(function, seen, program)
    on_chip = [buffer for buffer in seen.buffers if buffer.scope() == scope]
    stays = [Stay(buffer_bytes(buffer), 0, 0) for buffer in on_chip]
    return _Found(seen.buffers, on_chip, stays, sum(stay.size_bytes for stay in stays), dram_bytes)


def _in_bands(function: Any, program: Array, table: int, weights: set[int], scope: str) -> _Found:
    """BRR: a band is there from the step that makes it to the last one that reads it."""
    seen = band_accesses(function, program, table, weights)
    dram_bytes = moved_in_bands(seen, list(function.params), weights)
    there = lives(seen, scope)
    end = max((touch.step for touch in seen.touches), default=0)
    stays = [
        Stay(buffer_bytes(life.buffer), life.first or 0, end if life.last is None else life.last) for life in there
    ]
    return _Found(seen.buffers, [life.buffer for life in there], stays, peak_bytes(seen, there), dram_bytes)


def _in_passes(function: Any, program: Array, table: int, weights: set[int], scope: str) -> _Found:
    """Two passes or more: line buffers are there in their pass, scales and weights as long as passes read them."""
    seen = accesses(function, program, table, weights)
    once, more = in_one_image(seen, program, list(function.params), weights)
    lives_ = pass_lives(seen, scope)
    dram_bytes = _dram_bytes(function, once, program) + more
    on_chip, stays = [life.buffer for life in lives_], [life.stay for life in lives_]
    return _Found(seen.buffers, on_chip, stays, peak_in_passes(seen, lives_), dram_bytes)


def _in_phases(function: Any, program: Array, table: int, weights: set[int], scope: str) -> _Found:
    """Channel streaming: a buffer is there from the phase that first writes it to the last one that uses it."""
    seen = band_accesses(function, program, table, weights, phases=True)
    if len(seen.sections) != len(program):  # shorter ones would hide what is there at one time
        raise UnknownAccessError(f"it has {len(seen.sections)} phases, its program {len(program)}")
    dram_bytes = moved_in_bands(seen, list(function.params), weights)
    there = channel_lives(seen, scope)
    stays = [Stay(life.size_bytes, life.first, life.last) for life in there]
    peaks = (
        sum(stay.size_bytes for stay in stays if stay.first <= at <= stay.last) for at in range(len(seen.sections))
    )
    return _Found(seen.buffers, [life.buffer for life in there], stays, max(peaks, default=0), dram_bytes)


_MEASURES = {BRR: _in_bands, TWO_PASS: _in_passes, STREAMING: _in_phases}


def _programs(mod: IRModule) -> dict[str, tuple[int, Array]]:
    """Which parameter of each function is its row program, the last argument of main's call, and the program."""
    found = {}
    for binding in bindings(main_function(mod)):
        name = callee_name(binding.value)
        if name is not None and op_name(binding.value) == "call_tir":
            arguments = list(getattr(binding.value.args[1], "fields", ()))
            if arguments and is_constant(arguments[-1]):
                found[name] = len(arguments) - 1, constant_array(arguments[-1])
    return found


def _dram_bytes(function: Any, seen: Accesses, program: Array) -> int:
    """Bytes that cross; every parameter that is touched must be so wholly, and at each place once.

    Threads may load the same places, each of them once.
    """
    touched: dict[int, int] = {}
    seen_at: dict[int, dict[int, Array]] = {}  # by parameter and block
    written = {access.parameter for access in seen.found if access.written}
    for access in seen.found:
        param = function.params[access.parameter]
        size, boxes = moved_bytes(access, program, seen, dtype_bits(str(param.dtype)))
        shape = tuple(int(size) for size in param.shape)
        by_block = seen_at.setdefault(access.parameter, {})
        for block, found in boxes.items():
            place = WRITTEN if access.parameter in written else block
            _mark(param.name, by_block.setdefault(place, np.zeros(shape, bool)), found)
        touched[access.parameter] = touched.get(access.parameter, 0) + size
    for number, by_block in seen_at.items():
        places = np.logical_or.reduce(list(by_block.values()))
        param = function.params[number]
        size, whole = (bytes_of(count, dtype_bits(str(param.dtype))) for count in (places.sum(), places.size))
        if size != whole:
            raise UnknownAccessError(f"parameter {param.name!r} crosses with {size} of its {whole} bytes")
    return sum(touched.values())


def _mark(name: str, touched: Array, boxes: list[Box]) -> None:
    """Mark the elements of boxes, of which none may be marked already."""
    for box in boxes:
        places: list[Any] = [slice(first, first + extent) for first, extent in zip(box[::2], box[1::2], strict=True)]
        part = touched[(*places, ...)]  # of a tensor without axes a view as well
        if part.size != math.prod(box[1::2]):
            raise UnknownAccessError(f"parameter {name!r} is read or written outside of its shape")
        if part.any():
            raise UnknownAccessError(f"parameter {name!r} is read or written at one place several times")
        part[...] = True


def _compare(name: str, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise MemoryMismatchError(
            f"{name} {what} {found} bytes by its TIR, {expected} by the cost model: {found - expected:+d}"
        )
