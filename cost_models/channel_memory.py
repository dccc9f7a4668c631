"""Memory of the channel simulator: regions that are set aside, filled, handed on and freed, and bytes that move."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from tvm_fusion.cost_models.sizes import bytes_of


@dataclass(slots=True)
class Channels:
    """One tensor: its channels, elements an image and bits an element; the most of it that was ever set aside."""

    channels: int
    elements: int
    bits: int
    sum_bits: int
    batch: int
    most_channels: int = 0
    most_bytes: int = 0

    @property
    def image_bytes(self) -> int:
        """All channels, close together."""
        return bytes_of(self.elements, self.bits)

    @property
    def sum_bytes(self) -> int:
        """All channels as incomplete sums."""
        return bytes_of(self.elements, self.sum_bits)

    @property
    def channel_bytes(self) -> int:
        """One channel in a place of its own."""
        return bytes_of(-(-self.elements // self.channels), self.bits)

    def moved_bytes(self, c: int) -> int:
        """What channel c adds to the channels before it, close together."""
        size = -(-self.elements // self.channels)
        before, after = (min(self.elements, k * size) for k in (c, c + 1))
        return bytes_of(after, self.bits) - bytes_of(before, self.bits)

    def note(self, channels: int, size: int) -> None:
        """Channels and bytes that are set aside now."""
        self.most_channels = max(self.most_channels, channels)
        self.most_bytes = max(self.most_bytes, size)


@dataclass(slots=True, eq=False)
class Region:
    """A piece of memory: bytes set aside and filled, and which tensor's channel lies at which index."""

    size: int
    filled: int = 0
    owners: int = 1
    content: dict[int, int] = field(default_factory=dict)

    def place(self, t: int, c: int, streamed: bool) -> None:
        """Channel c of tensor t is here now; of a stream, no other channel is."""
        if streamed:
            self.content.clear()
        self.content[c] = t


class Memory:
    """All regions by the tensor (or weights) in them."""

    def __init__(self, keep_timeline: bool) -> None:
        self.regions: dict[Hashable, Region] = {}
        self.allocated = self.occupied = self.most_allocated = self.most_occupied = 0
        self.moved: Counter[str] = Counter()
        self.timeline: list[tuple[int, int, int]] = []
        self._keep = keep_timeline

    def allocate(self, key: Hashable, size: int) -> Region:
        """Set ``size`` bytes aside."""
        assert key not in self.regions, f"{key} is on chip twice"
        self.regions[key] = region = Region(size)
        self.allocated += size
        return region

    def share(self, key: Hashable, source: Hashable) -> None:
        """``key`` takes the place of ``source``, channel by channel."""
        self.regions[key] = self.regions[source]
        self.regions[key].owners += 1

    def settle(self) -> None:
        """Everything that a phase needs is set aside."""
        self.most_allocated = max(self.most_allocated, self.allocated)

    def fill(self, region: Region, size: int, once: bool = False) -> None:
        """``size`` more bytes of it are in use (``once``: as many in all), as far as it is not full."""
        filled = min(region.size, size if once else region.filled + size)
        filled = max(filled, region.filled) if once else filled
        self.occupied += filled - region.filled
        region.filled = filled
        self.most_occupied = max(self.most_occupied, self.occupied)
        self._event()

    def shrink(self, region: Region, size: int) -> None:
        """Sums are complete: the region has ``size`` bytes from now on, empty until they are placed."""
        self.allocated += size - region.size
        self.occupied -= region.filled
        region.size, region.filled = size, 0
        self._event()

    def free(self, key: Hashable) -> None:
        """What ``key`` names is not needed any more; its region goes with the last that is in it."""
        region = self.regions.pop(key)
        region.owners -= 1
        if not region.owners:
            self.allocated -= region.size
            self.occupied -= region.filled
            self._event()

    def move(self, kind: str, size: int) -> None:
        """Bytes cross to or from DRAM."""
        self.moved[kind] += size
        self._event()

    def _event(self) -> None:
        if self._keep:
            self.timeline.append((len(self.timeline), self.occupied, self.moved.total()))
