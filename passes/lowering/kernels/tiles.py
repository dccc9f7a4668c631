"""Tiles: how many columns and channels of a row one inner loop keeps in registers."""

from __future__ import annotations

from dataclasses import dataclass

# A sum must wait so many steps for the one before.
_LATENCY = 4.0


@dataclass(frozen=True)
class Tile:
    """``columns`` columns by ``vectors`` registers of channels."""

    columns: int
    vectors: int


def best_tile(columns: int, vectors: int, accumulators: int) -> Tile:
    """The tile that covers a row of ``columns`` by ``vectors`` in the least time, by a simple count of its steps."""
    found: tuple[float, Tile] | None = None
    for wide in range(1, min(columns, accumulators) + 1):
        for high in range(1, min(vectors, accumulators // wide) + 1):
            steps = sum(
                count_c * count_v * _steps(c, v)
                for c, count_c in _parts(columns, wide)
                for v, count_v in _parts(vectors, high)
            )
            if found is None or steps < found[0]:
                found = steps, Tile(wide, high)
    assert found is not None, "a row without columns"
    return found[1]


def _parts(whole: int, part: int) -> list[tuple[int, int]]:
    """(size, how often) of the pieces that ``whole`` falls into."""
    return [(size, count) for size, count in ((part, whole // part), (whole % part, 1)) if size and count]


def _steps(columns: int, vectors: int) -> float:
    """Time of one factor for a tile: its products, or its loads, or the wait for the sum before."""
    loads = vectors + columns / 2
    return max(float(columns * vectors), loads, _LATENCY) + 0.3


def lane_parts(channels: int, lanes: int, vectors: int) -> list[tuple[int, int, list[int]]]:
    """(first channel, how many tiles like it follow one another, lanes of each register) of the tiles over channels."""
    width = lanes * vectors
    full, rest = divmod(channels, width)
    parts = [(0, full, [lanes] * vectors)] if full else []
    if rest:
        whole = [lanes] * (rest // lanes)
        parts.append((full * width, 1, whole + ([rest % lanes] if rest % lanes else [])))
    return parts


def column_parts(columns: int, width: int) -> list[tuple[int, int]]:
    """(first column, columns) of the tiles of a row."""
    return [(first, min(width, columns - first)) for first in range(0, columns, width)]
