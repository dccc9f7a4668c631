"""The choice of the chains to split off and of the weights to keep: least DRAM access among what fits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from tvm_fusion.cost_models.pass_group import PassGroup
from tvm_fusion.graph.graph import members

if TYPE_CHECKING:
    from tvm_fusion.cost_models.multi_pass import MultiPassModel

# Up to so many chains every set of them is tried.
_EXHAUSTIVE_UNITS = 5


@dataclass(frozen=True, slots=True)
class PassChoice:
    """Chains split off (masks of their heads; see :class:`Chains`) and operators whose weights are kept throughout."""

    group: PassGroup
    kept: int
    buffer_bytes: int
    dram_bytes: int


def least_traffic(model: MultiPassModel, mask: int) -> PassChoice | None:
    """The choice that moves least among those that fit; None if none is found.

    With up to five chains every set of them is tried. With more, chains are split off one after another, each time
    the one that leaves the least requirement, until the group fits; then sets with one chain less or another one, as
    long as that moves less.
    """
    units = model.chains.units(mask)
    if not units:
        return None
    if len(units) <= _EXHAUSTIVE_UNITS:
        return _best(model, mask, list(_sets(units)), None)
    best = _first_that_fits(model, mask, units)
    while best is not None:
        heads = best.group.heads
        split = [unit for unit in units if unit & heads]
        left = [unit for unit in units if not unit & heads]
        fewer = [heads - unit for unit in split] if len(split) > 1 else []
        others = [heads - unit + other for unit in split for other in left]
        better = _best(model, mask, fewer + others, best)
        if better is best:
            break
        best = better
    return best


def _first_that_fits(model: MultiPassModel, mask: int, units: list[int]) -> PassChoice | None:
    """See :func:`least_traffic`."""
    heads, left = 0, units
    while left:
        groups = [model.group(mask, heads | unit) for unit in left]
        group = min(groups, key=lambda group: (group.requirement_bytes(0), group.least_dram_bytes))
        heads = group.heads
        left = [unit for unit in left if not unit & heads]
        found = _choice(group, None)
        if found is not None:
            return found
    return None


def least_requirement(model: MultiPassModel, mask: int) -> PassChoice | None:
    """The choice that needs least on chip, fits or not; the one that moves least of equals. None without a chain.

    With more than five chains all of them are split off.
    """
    units = model.chains.units(mask)
    if not units:
        return None
    sets = list(_sets(units)) if len(units) <= _EXHAUSTIVE_UNITS else [sum(units)]
    groups = sorted((model.group(mask, heads) for heads in sets), key=lambda group: group.lower_bound_bytes)
    best: PassChoice | None = None
    for group in groups:
        if best is not None and group.lower_bound_bytes > best.buffer_bytes:
            break
        found = PassChoice(group, 0, group.requirement_bytes(0), group.dram_bytes(0))
        if best is None or (found.buffer_bytes, found.dram_bytes) < (best.buffer_bytes, best.dram_bytes):
            best = found
    return best


def _sets(units: list[int]) -> Iterator[int]:
    for count in range(1, len(units) + 1):
        for chosen in combinations(units, count):
            yield sum(chosen)


def _best(model: MultiPassModel, mask: int, sets: list[int], best: PassChoice | None) -> PassChoice | None:
    """The choice that moves least: ``best``, or one of these sets of heads, the most promising first."""
    for group in sorted((model.group(mask, heads) for heads in sets), key=lambda group: group.least_dram_bytes):
        if best is not None and group.least_dram_bytes >= best.dram_bytes:
            break
        best = _choice(group, best)
    return best


def _choice(group: PassGroup, best: PassChoice | None) -> PassChoice | None:
    """``best``, or this division if it fits and moves less."""
    buffer_bytes = group.model.accelerator.buffer_bytes
    if group.lower_bound_bytes > buffer_bytes or group.requirement_bytes(0) > buffer_bytes:
        return best
    kept = _kept(group, buffer_bytes)
    moved = group.dram_bytes(kept)
    if best is None or moved < best.dram_bytes:
        best = PassChoice(group, kept, group.requirement_bytes(kept), moved)
    return best


def _kept(group: PassGroup, buffer_bytes: int) -> int:
    """Operators whose weights to keep: those that are loaded most often first, the larger first of equals."""
    weights = group.model.sizes.weight_bytes
    again = [i for i in members(group.loaded_again) if weights[i]]
    everything = sum(1 << i for i in again)
    if not again or group.requirement_bytes(everything) <= buffer_bytes:
        return everything
    kept = 0
    for i in sorted(again, key=lambda i: (-group.loads(i), -weights[i], i)):
        if group.requirement_bytes(kept | 1 << i) <= buffer_bytes:
            kept |= 1 << i
    return kept
