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
    extents = {var: as_int(extent) or 0 for var, extent in touch.loops}
    place = touch.indices[axis]
    variables = _used(place, list(extents))
    conditions, waiting = [], list(touch.conditions)
    while True:  # also those that only say something of what others depend on
        near = [c for c in waiting if not _used(c[0], list(extents)) or _used(c[0], variables)]
        if not near:
            break
        conditions += near
        waiting = [c for c in waiting if not any(c is other for other in near)]
        variables = _used_by([place, *(c for c, _ in conditions)], list(extents))
    shape = [extents[var] for var in variables]
    if math.prod(shape) > _MOST_PLACES:
        return np.zeros(0, np.int64)
    grid = np.meshgrid(*map(np.arange, shape), indexing="ij", sparse=True)
    values = dict(zip(variables, grid, strict=True))
    found = _evaluated(place, values, shape)
    if found is None:
        return np.zeros(0, np.int64)
    there = np.ones(shape, bool)
    for condition, wanted in conditions:
        holds = _evaluated(condition, values, shape)
        there &= True if holds is None else holds == wanted
    return np.unique(found[there])


def _used(expr: Any, variables: list[Any]) -> list[Any]:
    return [var for var in variables if uses(expr, var)]


def _used_by(every: list[Any], variables: list[Any]) -> list[Any]:
    return [var for var in variables if any(uses(expr, var) for expr in every)]


def _evaluated(expr: Any, values: dict[Any, Any], shape: list[int]) -> Array | None:
    """The values of an expression for all combinations; None if they depend on what is in memory."""
    try:
        return np.broadcast_to(np.asarray(evaluated(expr, values, _unknown)), shape)
    except UnknownAccessError:
        return None


def _unknown(buffer: Any, _indices: list[Any]) -> Any:
    raise UnknownAccessError(f"it depends on values of {buffer.name!r}")


def _elements(buffer: Any) -> int:
    return math.prod(int(size) for size in buffer.shape)
