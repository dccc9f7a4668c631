"""band_schedule: which rows every band of a group in BRR loads, makes and writes, for code generation."""

from __future__ import annotations

from dataclasses import dataclass

from tvm_fusion.cost_models.band_group import BandGroup, EvaluatedBands
from tvm_fusion.cost_models.band_spans import Bands
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.row_spans import NO_ROWS, Span, share

Spans = tuple[Span, ...]


@dataclass(frozen=True)
class BandSchedule:
    """A group in ``count`` bands.

    ``spans[t][b]``: rows of tensor t on chip in band b. ``written[i][b]``: those of an output that band b writes.
    ``passed[t]``: stretches of an outside tensor that are in no band, read once and not held. ``loaded[i]``: outside
    tensors that are loaded before operator i runs. ``alive_bytes[i]``: most bytes of bands on chip while it runs.
    """

    count: int
    spans: dict[int, Spans]
    written: dict[int, Spans]
    passed: dict[int, Spans]
    loaded: dict[int, tuple[int, ...]]
    alive_bytes: dict[int, int]


def band_schedule(model: BandModel, mask: int, count: int) -> BandSchedule:
    """The schedule of group ``mask`` in ``count`` bands, as :mod:`tvm_fusion.cost_models.bands` has it."""
    group = BandGroup(model, mask)
    found = EvaluatedBands(group, Bands.of([count]))
    height = model.spans.height
    spans = {
        t: tuple((a, b) if a < b else NO_ROWS for a, b in zip(first.tolist(), end.tolist(), strict=True))
        for t, (first, end) in found.spans.items()
    }
    return BandSchedule(
        count=count,
        spans=spans,
        written={i: tuple(share(height[i], band, count) for band in range(count)) for i in group.outputs},
        passed={t: _gaps(spans[t], height[t]) for t in group.inputs},
        loaded={i: tuple(t for t in tensors if t != i) for i, tensors in group.appear.items()},
        alive_bytes={i: int(alive[0]) for i, alive in found.alive.items()},
    )


def _gaps(spans: Spans, height: int) -> Spans:
    """The stretches of ``height`` rows that no span holds."""
    gaps, reached = [], 0
    for first, end in [*sorted(span for span in spans if span[0] < span[1]), (height, height)]:
        if first > reached:
            gaps.append((reached, first))
        reached = max(reached, end)
    return tuple(gaps)
