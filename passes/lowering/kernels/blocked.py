"""blocked: two nested loops in the order that moves least, one of them in blocks of which every one stays meanwhile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tvm_fusion.passes.lowering.expressions import index
from tvm_fusion.passes.lowering.loops import counter, loop_nest
from tvm_fusion.passes.lowering.statements import sequence

Body = Callable[[Any, Any], Any]


@dataclass(frozen=True)
class Walk:
    """A loop of ``count`` passes, each of which reads ``pass_bytes`` of its own."""

    name: str
    count: int
    pass_bytes: float

    @property
    def total_bytes(self) -> float:
        """What all passes read."""
        return self.count * self.pass_bytes

    def per_block(self, kept_bytes: int) -> int:
        """Passes whose bytes stay together."""
        return max(1, min(self.count, int(kept_bytes / max(1.0, self.pass_bytes))))

    def blocks(self, kept_bytes: int) -> int:
        """How many blocks there are."""
        return -(-self.count // self.per_block(kept_bytes))


def blocked(tiles: Walk, steps: Walk, kept_bytes: int, body: Body) -> Any:
    """``body(tile, step)`` for all of both, in blocks of the one for which the other one passes the fewest bytes.

    The orders are those of :func:`tvm_fusion.cost_models.layerwise.layerwise_cost`: a block stays, the other one passes
    once for every block.
    """
    tiles_stay = steps.total_bytes * tiles.blocks(kept_bytes) + tiles.total_bytes
    steps_stay = tiles.total_bytes * steps.blocks(kept_bytes) + steps.total_bytes
    if tiles_stay <= steps_stay:
        return _in_blocks(tiles, steps, kept_bytes, body)
    return _in_blocks(steps, tiles, kept_bytes, lambda step, tile: body(tile, step))


def _in_blocks(stays: Walk, passes: Walk, kept_bytes: int, body: Body) -> Any:
    """``body(one that stays, one that passes)``, those of a block innermost."""
    per = stays.per_block(kept_bytes)
    whole, rest = divmod(stays.count, per)
    made = []
    for first, blocks, size in ((0, whole, per), (whole * per, 1, rest)):
        if blocks and size:
            counts = (("block", blocks), (passes.name, passes.count), (stays.name, size))
            loops = [(counter(name, count), count) for name, count in counts]
            block, moving, inner = (var for var, _ in loops)
            place = index(first) + block * index(per) + inner
            made.append(loop_nest(loops, body(place, moving)))
    return sequence(made)
