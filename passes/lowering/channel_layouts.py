"""channels_together: which resident tensors lie with the channels of an element closest together."""

from __future__ import annotations

from tvm_fusion.cost_models.sizes import output_channels
from tvm_fusion.passes.lowering.channel_phases import ChannelPhases

# Maps of more elements are long enough for vectors along them; fewer channels are not.
MOST_ELEMENTS = 16 * 16
LEAST_CHANNELS = 32


def channels_together(phases: ChannelPhases) -> frozenset[int]:
    """Tensors whose maps are small and read, or added up, by convolutions with a window: there vectors along a row
    would be short, and cut at every border. Tensors in one place are all among them, or none is."""
    places: dict[int, int] = {}
    for phase in phases.phases:
        for t, source in sorted(phase.taken.items()):
            places[t] = places.get(source, source)
    chosen = {places.get(t, t) for t in phases.resident if _is_wanted(phases, t)}
    return frozenset(t for t in phases.resident if places.get(t, t) in chosen)


def _is_wanted(phases: ChannelPhases, t: int) -> bool:
    tensor, channels = phases.graph.tensor(t), output_channels(phases.graph.tensor(t))
    if channels < LEAST_CHANNELS or not 1 < tensor.elements // channels <= MOST_ELEMENTS:
        return False
    readers = [c for c in phases.graph.consumers[t] if c not in phases.summing]
    return any(_is_window(phases, i) for i in (*readers, *([t] if t in phases.summing else [])))


def _is_window(phases: ChannelPhases, i: int) -> bool:
    window = phases.graph.operators[i].window
    return phases.kind(i) == "mix" and window is not None and window.kernel != (1, 1)
