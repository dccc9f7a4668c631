"""pass_memory: what a group in passes holds on chip at most and moves, and in which passes each buffer is there."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from math import inf, prod
from typing import Any

from tvm_fusion.cost_models.sizes import dtype_bits
from tvm_fusion.passes.lowering.access_terms import UnknownAccessError, buffer_bytes
from tvm_fusion.passes.lowering.accesses import Accesses, Touch, moved_bytes
from tvm_fusion.passes.lowering.address_layout import Stay
from tvm_fusion.passes.relax_tools import Array


@dataclass(frozen=True)
class PassLife:
    """A buffer is there in ``passes``."""

    buffer: Any
    passes: frozenset[int]

    @property
    def stay(self) -> Stay:
        """From the first of its passes to the last one, what is between them included."""
        return Stay(buffer_bytes(self.buffer), min(self.passes), max(self.passes))


def pass_lives(seen: Accesses, scope: str) -> list[PassLife]:
    """When each buffer of ``scope`` is there: from the pass that first writes it to the last one that reads it; what is
    written before all passes, or never used, throughout.

    Raises UnknownAccessError for one that is read before it is written.
    """
    touches: dict[Any, list[Touch]] = defaultdict(list)
    for touch in seen.touches:
        touches[touch.buffer].append(touch)
    return [PassLife(b, _passes(seen, b, touches[b])) for b in seen.buffers if b.scope() == scope]


def _passes(seen: Accesses, buffer: Any, touches: list[Touch]) -> frozenset[int]:
    inside = [touch for touch in touches if touch.section is not None]
    used = sorted({touch.section for touch in inside if touch.section is not None})
    written = sorted({touch.section for touch in inside if touch.written and touch.section is not None})
    before = len(inside) < len(touches)
    if not used or (before and not written):
        return frozenset(range(seen.sections))
    if before:  # what the first image finds comes later in the others, and stays from one image to the next
        return frozenset(range(written[0], seen.sections)) | frozenset(range(_last_before(used, written[0]) + 1))
    stored = _first(inside, lambda touch: touch.written)
    # What a condition keeps from being read, such as padding, is no row of the tensor.
    loaded = _first(inside, lambda touch: not touch.written and touch.certain)
    if loaded < stored:
        raise UnknownAccessError(f"{buffer.name!r} is read before it is written: something of the image before")
    return frozenset(range(used[0], used[-1] + 1))


def _last_before(used: list[int], number: int) -> int:
    return max((k for k in used if k < number), default=-1)


def _first(touches: list[Touch], wanted: Callable[[Touch], bool]) -> tuple[float, int]:
    """When a touch that is wanted is first executed: at which event, and where in what happens then."""
    found = ((touch.events[0], k) for k, touch in enumerate(touches) if touch.events and wanted(touch))
    return min(found, default=(inf, 0))


def peak_bytes(seen: Accesses, lives: list[PassLife]) -> int:
    """Most bytes on chip in one pass."""
    return max(
        (sum(buffer_bytes(life.buffer) for life in lives if k in life.passes) for k in range(seen.sections)),
        default=0,
    )


def in_one_image(seen: Accesses, program: Array, params: list[Any], weights: Container[int]) -> tuple[Accesses, int]:
    """The accesses with weights loaded as for a single image, and the bytes of weights that further images load."""
    found, more = [], 0
    for access in seen.found:
        images = [extent for _, extent in access.loops[: access.outside]]
        if access.parameter in weights and access.events is not None and not access.written and images:
            access = replace(access, loops=access.loops[access.outside :], outside=0)
            bits = dtype_bits(str(params[access.parameter].dtype))
            more += (prod(images) - 1) * moved_bytes(access, program, seen, bits)[0]
        found.append(access)
    return replace(seen, found=found), more
