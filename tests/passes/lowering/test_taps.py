"""window_taps: cells cover every place where an addend counts, once, whatever the window."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tvm import tirx
from tvm.ir.prim import expr as prim

from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.expressions import as_int, index, loads, simplified, substituted
from tvm_fusion.passes.lowering.loops import loop_var
from tvm_fusion.passes.lowering.taps import MOST_TAPS, window_taps

ZERO = tirx.FloatImm("float32", 0.0)


class Convolution:
    """out[h, w] += in[c, h * stride + r * dilation - pad, ..] * weight[c, r, s], the input 0 in the padding."""

    def __init__(
        self,
        size: tuple[int, int],
        kernel: tuple[int, int],
        stride: int,
        dilation: int,
        pad: tuple[int, int],
        channels: int = 2,
    ) -> None:
        self.free = [(loop_var("h"), self._out(0, size, kernel, stride, dilation, pad)), (loop_var("w"), 0)]
        self.free[1] = (self.free[1][0], self._out(1, size, kernel, stride, dilation, pad))
        self.inner = [(loop_var("c"), channels), (loop_var("r"), kernel[0]), (loop_var("s"), kernel[1])]
        (h, _), (w, _) = self.free
        (c, _), (r, _), (s, _) = self.inner
        self.row, self.column = (
            place * index(stride) + tap * index(dilation) - index(before)
            for place, tap, before in ((h, r, pad[0]), (w, s, pad[1]))
        )
        self.size = size
        inside = [
            prim.And(at >= index(0), at < index(extent))
            for at, extent in zip((self.row, self.column), size, strict=True)
        ]
        self.data = tirx.decl_buffer((channels, *size), "float32", name="data")
        weight = tirx.decl_buffer((channels, *kernel), "float32", name="weight")
        out = tirx.decl_buffer(tuple(extent for _, extent in self.free), "float32", name="out")
        value = tirx.if_then_else(prim.And(*inside), self.data[c, self.row, self.column], ZERO)
        self.block = Block(
            "sum", tuple(self.free), tuple(self.inner), out, (h, w), out[h, w] + value * weight[c, r, s], ZERO
        )

    @staticmethod
    def _out(
        axis: int, size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int, pad: tuple[int, int]
    ) -> int:
        return (size[axis] + 2 * pad[axis] - (kernel[axis] - 1) * dilation - 1) // stride + 1

    def counting(self) -> set[tuple[int, int, int, int]]:
        """(h, w, r, s) where the input is no padding."""
        found = set()
        for values in product(*(range(extent) for _, extent in (*self.free, *self.inner[1:]))):
            at = {var: index(v) for (var, _), v in zip((*self.free, *self.inner[1:]), values, strict=True)}
            row, column = (as_int(simplified(substituted(place, at))) for place in (self.row, self.column))
            assert row is not None
            assert column is not None
            if 0 <= row < self.size[0] and 0 <= column < self.size[1]:
                found.add(values)
        return found


@settings(deadline=None, max_examples=40)
@given(
    size=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    stride=st.integers(1, 3),
    dilation=st.integers(1, 2),
    pad=st.tuples(st.integers(1, 3), st.integers(1, 3)),
)
def test_cells_are_the_places_that_count(
    size: tuple[int, int], kernel: tuple[int, int], stride: int, dilation: int, pad: tuple[int, int]
) -> None:
    if any(s + 2 * p < (k - 1) * dilation + 1 for s, k, p in zip(size, kernel, pad, strict=True)):
        return
    made = Convolution(size, kernel, stride, dilation, pad)
    window = window_taps(made.block, made.free, made.inner, made.free[1][0])
    assert window is not None
    variables = [var for var, _ in (*made.free, *made.inner[1:])]
    found: list[tuple[Any, ...]] = []
    left_over = [loop for loop in made.inner[1:] if loop[0] not in window.unrolled]
    for cell in window.cells:
        ranges = [range(*cell.ranges.get(var, (0, extent))) for var, extent in made.free]
        for places in product(*ranges):
            for tap in cell.taps:
                for others in product(*(range(extent) for _, extent in left_over)):
                    at = dict(zip([var for var, _ in made.free], places, strict=True)) | tap
                    at |= dict(zip([var for var, _ in left_over], others, strict=True))
                    numbers = {var: index(value) for var, value in at.items()}
                    if all(as_int(simplified(substituted(test, numbers))) for test in window.left):
                        found.append(tuple(at[var] for var in variables))
    assert len(found) == len(set(found))
    assert set(found) == made.counting()
    assert len(loads(window.value, made.data)) == 1
    assert max(len(cell.taps) for cell in window.cells) <= MOST_TAPS if window.cells else not found


def test_what_is_no_window() -> None:
    """A sum without padding; values of another number than the start."""
    made = Convolution((4, 4), (3, 3), 1, 1, (1, 1))
    closest = made.free[1][0]
    (h, _), (w, _) = made.free
    plain = replace(made.block, value=made.block.buffer[h, w] + made.data[index(0), h, w])
    assert window_taps(plain, made.free, made.inner, closest) is None
    other = replace(made.block, init=tirx.FloatImm("float32", 1.0))
    assert window_taps(other, made.free, made.inner, closest) is None


@pytest.mark.parametrize("kernel", [(3, 3), (5, 5)])
def test_rows_of_a_large_window_stay_a_condition(kernel: tuple[int, int]) -> None:
    made = Convolution((7, 7), kernel, 1, 1, (kernel[0] // 2, kernel[1] // 2))
    window = window_taps(made.block, made.free, made.inner, made.free[1][0])
    assert window is not None
    assert len(window.left) == (0 if kernel == (3, 3) else 2)
    assert max(len(cell.taps) for cell in window.cells) == (9 if kernel == (3, 3) else 5)
