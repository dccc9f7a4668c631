"""Tiles fit the registers, and the parts of a row cover it exactly."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tvm_fusion.passes.lowering.kernels.tiles import Tile, best_tile, column_parts, lane_parts

SIZES = st.integers(1, 60)


@given(columns=SIZES, vectors=SIZES, accumulators=st.integers(1, 16))
def test_best_tile_fits_and_no_other_takes_less(columns: int, vectors: int, accumulators: int) -> None:
    tile = best_tile(columns, vectors, accumulators)
    fitting = [
        Tile(wide, high)
        for wide, high in itertools.product(range(1, columns + 1), range(1, vectors + 1))
        if wide * high <= accumulators
    ]
    assert tile in fitting
    times = {other: time_of(columns, vectors, other) for other in fitting}
    assert times[tile] <= min(times.values()) + 1e-9


def time_of(columns: int, vectors: int, tile: Tile) -> float:
    """One factor of every tile: its products, its loads or the wait for a sum, whichever takes longest."""
    time = 0.0
    for column, vector in itertools.product(range(0, columns, tile.columns), range(0, vectors, tile.vectors)):
        wide, high = min(tile.columns, columns - column), min(tile.vectors, vectors - vector)
        time += max(wide * high, high + wide / 2, 4) + 0.3
    return time


@pytest.mark.parametrize(("columns", "vectors", "accumulators", "tile"), [
    (1, 1, 12, Tile(1, 1)),
    (4, 1, 12, Tile(4, 1)),
    (112, 1, 12, Tile(12, 1)),
    (1, 100, 12, Tile(1, 12)),  # 8 tiles of 12 and one of 4 are 9, as with 11 and 10
    (5, 5, 1, Tile(1, 1)),
])  # fmt: skip
def test_best_tile_of_a_known_row(columns: int, vectors: int, accumulators: int, tile: Tile) -> None:
    found = best_tile(columns, vectors, accumulators)
    assert time_of(columns, vectors, found) == pytest.approx(time_of(columns, vectors, tile))


@given(channels=st.integers(1, 300), lanes=st.integers(1, 16), vectors=st.integers(1, 14))
def test_parts_over_channels_cover_each_once(channels: int, lanes: int, vectors: int) -> None:
    covered: list[int] = []
    for first, count, registers in lane_parts(channels, lanes, vectors):
        assert count >= 1
        assert 1 <= len(registers) <= vectors
        assert all(1 <= size <= lanes for size in registers)
        assert all(size == lanes for size in registers[:-1]), "only the last register may be part full"
        assert first == len(covered)
        covered += range(first, first + count * sum(registers))
    assert covered == list(range(channels))


@given(columns=st.integers(1, 300), width=st.integers(1, 16))
def test_parts_over_columns_cover_each_once(columns: int, width: int) -> None:
    parts = column_parts(columns, width)
    assert [column for first, count in parts for column in range(first, first + count)] == list(range(columns))
    assert all(1 <= count <= width for _, count in parts)
    assert len(parts) == math.ceil(columns / width)
