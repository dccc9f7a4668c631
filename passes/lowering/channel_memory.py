"""channel_lives: what a group that streams channels holds on chip in which of its phases."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits
from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, buffer_bytes
from tvm_fusion.passes.lowering.band_accesses import BandAccesses, Touch
from tvm_fusion.passes.lowering.evaluated import evaluated
from tvm_fusion.passes.lowering.expressions import as_int, uses
from tvm_fusion.passes.relax_tools import Array

_MOST_PLACES = 1 << 22


@dataclass(frozen=True)
class ChannelLife:
    """A buffer that is there from phase ``first`` to phase ``last``."""

    buffer: Any
    size_bytes: int
    first: int
    last: int


def channel_lives(seen: BandAccesses, scope: str) -> list[ChannelLife]:
    """When each buffer of ``scope`` is there, and how many bytes it takes.

    A place through which weights pass counts with the share of one pass in the bytes of all of them, also where that is
    no whole number of elements. Raises UnknownAccessError for a buffer that is read before it is written, that is used
    outside of the phases, or outside of its shape.
    """
    found = []
    for buffer in seen.buffers:
        touches = [touch for touch in seen.touches if touch.buffer.same_as(buffer)]
        for touch in touches:
            _check_shape(touch)
        if buffer.scope() != scope:
            continue
        phases = [touch.section for touch in touches]
        if None in phases:
            raise UnknownAccessError(f"{buffer.name!r} is used outside of the phases")
        if touches and not touches[0].written:
            raise UnknownAccessError(f"{buffer.name!r} is read before it is written")
        inside = [phase for phase in phases if phase is not None] or [0, len(seen.sections) - 1]
        found.append(ChannelLife(buffer, _size_bytes(seen, buffer, touches), min(inside), max(inside)))
    return found


def _size_bytes(seen: BandAccesses, buffer: Any, touches: list[Touch]) -> int:
    """Of weights at least the share of a pass."""
    size = buffer_bytes(buffer)
    params = {touch.source for touch in touches if touch.source is not None and touch.source in seen.weights}
    if not params:
        return size
    largest = max(params, key=_elements)
    here = [touch for touch in touches if touch.source is not None and touch.source.same_as(largest)]
    at_once = np.unique(np.concatenate([_values(touch, 0) for touch in here]))
    passes = _elements(largest) // len(at_once)
    whole = sum(bytes_of(_elements(param), dtype_bits(str(param.dtype))) for param in params)
    return max(size, -(-whole // max(1, passes)))


def _check_shape(touch: Touch) -> None:
    """Raises UnknownAccessError for places that the buffer does not have."""
    for axis, size in enumerate(touch.buffer.shape):
        found = _values(touch, axis)
        if found.size and not 0 <= found.min() <= found.max() < int(size):
            raise UnknownAccessError(f"{touch.buffer.name!r} is read or written outside of its shape")


def _values(touch: Touch, axis: int) -> Array:
    """Places along an axis that an access may touch; none if they depend on values or are too many to tell."""
    extents = {var: as_int(extent) for var, extent in touch.loops}
    place = touch.indices[axis]
    variables = [var for var in extents if uses(place, var)]
    conditions = []
    waiting = list(touch.conditions)
    while related := [c for c in waiting if any(uses(c[0], var) for var in variables)]:
        conditions += related
        waiting = [c for c in waiting if c not in related]
        variables = [var for var in extents if var in variables or any(uses(c, var) for c, _ in related)]
    shape = [extents[var] or 0 for var in variables]
    if math.prod(shape) > _MOST_PLACES:
        return np.zeros(0, np.int64)
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    values = dict(zip(variables, grid, strict=True))
    there = np.ones(shape, bool)
    try:
        for condition, wanted in conditions:
            there &= np.broadcast_to(evaluated(condition, values, _unknown), shape) == wanted
        return np.unique(np.broadcast_to(evaluated(place, values, _unknown), shape)[there])
    except UnknownAccessError:
        return np.zeros(0, np.int64)


def _unknown(buffer: Any, _indices: list[Any]) -> Any:
    raise UnknownAccessError(f"it depends on values of {buffer.name!r}")


def _elements(buffer: Any) -> int:
    return math.prod(int(size) for size in buffer.shape)
