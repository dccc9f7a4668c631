"""band_memory: what a group in bands holds on chip at most, moves, and when each of its buffers is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits
from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, buffer_bytes
from tvm_fusion.passes.lowering.band_accesses import BandAccesses, Places, Touch, Values
from tvm_fusion.passes.relax_tools import Array


@dataclass(frozen=True)
class Life:
    """A buffer is there from step ``first`` to step ``last`` of every band; None: throughout."""

    buffer: Any
    first: int | None
    last: int | None

    def at(self, step: int) -> bool:
        """Whether it is there in a step."""
        return self.first is None or self.last is None or self.first <= step <= self.last


def lives(seen: BandAccesses, scope: str) -> list[Life]:
    """When each buffer of ``scope`` is there. Raises UnknownAccessError for one that is read before it is written."""
    found = []
    for buffer in seen.buffers:
        if buffer.scope() != scope:
            continue
        touches = [touch for touch in seen.touches if touch.buffer.same_as(buffer)]
        sections = {touch.section for touch in touches}
        if None in sections or not touches:
            found.append(Life(buffer, None, None))
            continue
        if sections != {0}:
            raise UnknownAccessError(f"{buffer.name!r} is used outside of the loop over bands")
        steps = [touch.step for touch in touches]
        if not any(touch.written for touch in touches if touch.step == min(steps)):
            raise UnknownAccessError(f"{buffer.name!r} is read before it is written: something of the band before")
        found.append(Life(buffer, min(steps), max(steps)))
    return found


def peak_bytes(seen: BandAccesses, found: list[Life]) -> int:
    """Most bytes on chip at one time: of a tensor the rows that are made or loaded in a band, of weights the whole.

    Raises UnknownAccessError if a row is read that was not made or loaded in the same band.
    """
    steps = {touch.step for touch in seen.touches if touch.section == 0} or {0}
    touches = {life.buffer: [t for t in seen.touches if t.buffer.same_as(life.buffer)] for life in found}
    most = 0
    for at in seen.sections[0].passes() if seen.sections else [{}]:
        there = {life.buffer: _held_bytes(seen, life, touches[life.buffer], at) for life in found}
        most = max(most, *(sum(there[life.buffer] for life in found if life.at(step)) for step in steps))
    return most


def _held_bytes(seen: BandAccesses, life: Life, touches: list[Touch], at: Values) -> int:
    whole, shape = buffer_bytes(life.buffer), life.buffer.shape
    if life.first is None or len(shape) == 1:
        return whole
    held = np.zeros(int(shape[0]), bool)
    for touch in sorted(touches, key=lambda touch: (touch.step, not touch.written)):
        rows = seen.rows(touch, at)
        if touch.written and rows is None:
            raise UnknownAccessError(f"{life.buffer.name!r} is written at unknown rows: {touch.indices[0]}")
        if touch.written:
            held[rows] = True
        elif rows is not None and not held[rows].all():
            raise UnknownAccessError(f"{life.buffer.name!r} is read at rows of which the band has made or loaded none")
    return whole // len(held) * int(held.sum())


def moved_bytes(seen: BandAccesses, params: list[Any], weights: Container[int]) -> int:
    """Bytes that cross from and to DRAM.

    Raises UnknownAccessError unless every parameter that is touched crosses wholly; in one band each place of it once,
    of a weight all places, and a place of a result in one band alone.
    """
    total = 0
    for number, param in enumerate(params):
        touches = [touch for touch in seen.touches if touch.buffer.same_as(param)]
        if touches:
            total += _Crossing(seen, param, touches, number in weights).bytes()
    return total


class _Crossing:
    """One parameter."""

    def __init__(self, seen: BandAccesses, param: Any, touches: list[Touch], is_weight: bool) -> None:
        self.seen, self.param, self.is_weight = seen, param, is_weight
        self.written = any(touch.written for touch in touches)
        self.by_section: dict[int | None, list[Touch]] = defaultdict(list)
        for touch in touches:
            self.by_section[touch.section].append(touch)
        self.shape = tuple(int(size) for size in param.shape)
        self.ever = np.zeros(self.shape, bool)
        self.known: dict[Any, int] = {}  # elements by places, as most weights pass many times alike

    def bytes(self) -> int:
        bits = dtype_bits(str(self.param.dtype))
        elements = 0
        for section, touches in self.by_section.items():
            # What is outside of all loops over bands is executed once.
            passes = [{}] if section is None else self.seen.sections[section].passes()
            elements += sum(self._elements(touches, at) for at in passes)
        if not self.ever.all():
            there, whole = (bytes_of(int(count), bits) for count in (self.ever.sum(), self.ever.size))
            raise UnknownAccessError(f"parameter {self.param.name!r} crosses with {there} of its {whole} bytes")
        return bytes_of(elements, bits)

    def _elements(self, touches: list[Touch], at: Values) -> int:
        """Elements that cross in a pass."""
        found = [places for touch in touches if (places := self.seen.places(touch, at)) is not None]
        key = tuple(axis if isinstance(axis, range) else axis.tobytes() for places in found for axis in places)
        if key in self.known and not self.written:
            return self.known[key]
        now = np.zeros(self.shape, bool)
        for places in found:
            self._mark(now, places)
        if self.written:
            if (now & self.ever).any():
                raise self._several_times()
        elif self.is_weight and not now.all():
            raise UnknownAccessError(f"weight {self.param.name!r} crosses in part in a band")
        self.ever |= now
        self.known[key] = int(now.sum())
        return self.known[key]

    def _mark(self, now: Array, places: list[Places]) -> None:
        for axis, size in zip(places, self.shape, strict=True):
            lowest, highest = (axis[0], axis[-1]) if isinstance(axis, range) else (axis.min(), axis.max())
            if lowest < 0 or highest >= size:
                raise UnknownAccessError(f"parameter {self.param.name!r} is read or written outside of its shape")
        part: Any = tuple(slice(axis[0], axis[-1] + 1) for axis in places if isinstance(axis, range))
        if len(part) < len(places):
            part = np.ix_(*(np.asarray(axis) for axis in places))
        if now[part].any():
            raise self._several_times()
        now[part] = True

    def _several_times(self) -> UnknownAccessError:
        return UnknownAccessError(f"parameter {self.param.name!r} is read or written at one place several times")
