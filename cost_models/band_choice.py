"""The choice of BRR's parameters: of all numbers of bands and sets of kept weights, the one that moves least. Exact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_spans import Bands, Rows
from tvm_fusion.cost_models.kept_weights import Streamed, kept_weights

_FIRST_BANDS, _MOST_BANDS = 256, 8192  # evaluated at a time: at first, and at most


@dataclass(frozen=True, slots=True)
class BandChoice:
    """A number of bands and the operators whose weights are kept on chip, with what they need and move in bytes."""

    bands: int
    kept: tuple[int, ...]
    buffer_bytes: int
    dram_bytes: int


def least_traffic(group: BandGroup) -> BandChoice | None:
    """The choice that moves least among those that fit, the fewest bands of equals; None if nothing fits.

    All n from 1 to the height of the tallest result are in question. Two facts spare most of them:

    - Every row of a result is in some band, which holds at least what that row alone needs: bands of one row of one
      result bound from below what is alive, and so from above the weights that can be kept.
    - If each row of the tallest result and the one before it both need v rows of an input at least, then n - 1 borders
      load v rows again.
    """
    whole = EvaluatedBands(group, Bands.of([1]))
    best = _better(whole, None)
    least = group.input_bytes + group.output_bytes + group.weight_bytes
    if group.height == 1 or (best is not None and best.dram_bytes == least):
        return best
    singles = []
    for result in sorted(group.results, key=lambda i: (i != group.tallest, i)):
        singles.append(EvaluatedBands(group, Bands.of([group.model.spans.height[result]]), {result}))
        if singles[-1].requirement[0] > group.buffer_bytes:
            return best
    counts = np.arange(2, group.height + 1)
    bound = least_moved(singles, counts)
    for portion in _portions(counts):
        left = portion if best is None else portion[bound[portion - 2] < best.dram_bytes]
        if not len(left):
            break
        best = _better(EvaluatedBands(group, Bands.of(left)), best)
    return best


def least_requirement(group: BandGroup) -> BandChoice:
    """The choice that needs least on chip, fits or not: all weights streamed; the fewest bands of equals."""
    best: tuple[int, int] | None = None
    for counts in _portions(np.arange(1, group.height + 1)):
        needed = EvaluatedBands(group, Bands.of(counts)).requirement
        k = int(np.argmin(needed))
        if best is None or needed[k] < best[0]:
            best = int(needed[k]), int(counts[k])
    assert best is not None
    needed_bytes, bands = best
    found = EvaluatedBands(group, Bands.of([bands]))
    moved = group.moved_bytes(found.bands.counts, found.input_bytes(), 0)
    return BandChoice(bands, (), needed_bytes, int(moved[0]))


def least_requirement_bytes(group: BandGroup) -> int:
    """The bytes of :func:`least_requirement`, sooner.

    Bands of one row of one result bound every number of bands from below (see :func:`least_traffic`). One band for each
    row of the tallest result reaches that bound, always where there is one result and mostly where there are more.
    """
    every_row = int(EvaluatedBands(group, Bands.of([group.height])).requirement[0])
    if len(group.results) == 1:
        return every_row
    height = group.model.spans.height
    bound = max(int(EvaluatedBands(group, Bands.of([height[i]]), {i}).requirement[0]) for i in sorted(group.results))
    best = every_row
    for counts in _portions(np.arange(group.height - 1, 0, -1)):
        if best == bound:
            break
        best = min(best, int(np.min(EvaluatedBands(group, Bands.of(counts)).requirement)))
    return best


def least_moved(singles: Sequence[EvaluatedBands], counts: Rows) -> Rows:
    """Bytes that ``counts`` bands move at least; grows with their number.

    ``singles``: each result alone in bands of one row, the tallest first.
    """
    group = singles[0].group
    inputs = np.zeros(len(counts), dtype=np.int64)
    for t in group.inputs:
        first, end = singles[0].spans[t]
        again, height = 0, group.model.spans.height[t]
        if np.all(first < end) and np.all(first[1:] >= first[:-1]) and np.all(end[1:] >= end[:-1]):
            again = max(0, int(np.min(end[:-1] - first[1:], initial=height)))
        inputs += group.loaded_bytes(t, height + (counts - 1) * again)
    room = group.buffer_bytes - max(int(single.most_alive[0]) for single in singles)
    return group.moved_bytes(counts, inputs, min(group.weight_bytes, max(0, room)))


def _better(found: EvaluatedBands, best: BandChoice | None) -> BandChoice | None:
    """The choice that moves least: ``best``, or one of these numbers of bands, the most promising first."""
    group, counts = found.group, found.bands.counts
    inputs = found.input_bytes()
    kept_most = np.clip(group.buffer_bytes - found.most_alive, 0, group.weight_bytes)
    promise = group.moved_bytes(counts, inputs, kept_most)
    fits = found.requirement <= group.buffer_bytes
    for k in np.argsort(promise, kind="stable"):
        if best is not None and promise[k] >= best.dram_bytes:
            break
        if not fits[k]:
            continue
        kept = _kept(found, int(k))
        kept_bytes = sum(group.sizes.weight_bytes[i] for i in kept)
        moved = int(group.moved_bytes(counts[k], inputs[k], kept_bytes))
        if best is None or moved < best.dram_bytes:
            best = BandChoice(int(counts[k]), kept, required_bytes(found, int(k), kept), moved)
    return best


def required_bytes(found: EvaluatedBands, k: int, kept: tuple[int, ...]) -> int:
    """Bytes on chip that the k-th number of bands needs with the weights of ``kept`` there throughout."""
    parts, weights = found.group.model.part_bytes, found.group.sizes.weight_bytes
    running = (int(alive[k]) + (0 if i in kept else parts[i]) for i, alive in found.alive.items())
    return max(running) + sum(weights[i] for i in kept)


def _kept(found: EvaluatedBands, k: int) -> tuple[int, ...]:
    """Operators to keep; none where every weight passes once anyway."""
    group = found.group
    if found.bands.counts[k] * group.graph.batch == 1:
        return ()
    parts, weights = group.model.part_bytes, group.sizes.weight_bytes
    operators = [Streamed(weights[i], parts[i], int(found.alive[i][k])) for i in group.weighted]
    positions = kept_weights(operators, int(found.most_alive[k]), group.buffer_bytes)
    return tuple(group.weighted[p] for p in positions)


def _portions(counts: Rows) -> Iterator[Rows]:
    """Numbers of bands, ascending, in portions that grow."""
    start, limit = 0, _FIRST_BANDS
    while start < len(counts):
        end = start + max(1, int(np.searchsorted(np.cumsum(counts[start:]), limit, side="right")))
        yield counts[start:end]
        start, limit = end, min(4 * limit, _MOST_BANDS)
