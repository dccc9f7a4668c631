"""conv3x3 -> relu -> conv1x1 -> add to the input, as one PrimFunc in two bands of two rows; only the 1x1 weights stay.

Written for vectors of 16 bytes, four elements. The weights of the 3x3 convolution pass a channel at a time, as there is
no room for more: the input's three rows and the first result's two make up the most that is there at one time, with the
weights that stay and those of one channel.
"""

from __future__ import annotations

import functools

import tvm
from tvm.script import tirx as T

from tests.golden.lower_line_buffer import before
from tests.passes.lowering.banded import grouped
from tvm_fusion.passes.lower_bands import LowerBands

# By band (first row, rows) of the input and the four operators, then of what is written.
PROGRAM = (
    (0, 3, 0, 2, 0, 2, 0, 2, 0, 2, 0, 2),
    (1, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2),
)  # fmt: skip


@functools.cache
def lowered() -> tvm.IRModule:
    """What LowerBands makes of the network: 248 bytes on chip, 624 from and to DRAM."""
    return LowerBands()(grouped(before(), 2, lambda i: i == 2))


@T.prim_func(private=True)
def expected(
    p0: T.Buffer((T.int64(1), T.int64(2), T.int64(4), T.int64(4)), "float32"),
    p1: T.Buffer((T.int64(36),), "float32"),
    p2: T.Buffer((T.int64(4),), "float32"),
    program: T.Buffer((T.int64(2), T.int64(12)), "int32"),
    result_0: T.Buffer((T.int64(1), T.int64(2), T.int64(4), T.int64(4)), "float32"),
):
    T.func_attr(
        {
            "tirx.noalias": True,
            "tvm_fusion.batch": 1,
            "tvm_fusion.binding_operators": [0, 1, 2, 3, 3],
            "tvm_fusion.buffer_bytes": 62,
            "tvm_fusion.dram_bytes": 156,
            "tvm_fusion.group": 0,
            "tvm_fusion.ir_buffer_bytes": 248,
            "tvm_fusion.ir_dram_bytes": 624,
            "tvm_fusion.operands": [-1, -2147483648, -2147483648],
            "tvm_fusion.operators": [0, 1, 2, 3],
            "tvm_fusion.parameters": '{"bands": 2, "kept": [2]}',
            "tvm_fusion.row_axes": [2, -1, -1],
            "tvm_fusion.scheme": "brr",
        }
    )
    add_3_rows = T.alloc_buffer((T.int64(2), T.int64(8)), scope="global.sram")
    conv2d_2_rows = T.alloc_buffer((T.int64(2), T.int64(8)), scope="global.sram")
    relu_1_rows = T.alloc_buffer((T.int64(2), T.int64(8)), scope="global.sram")
    conv2d_0_rows = T.alloc_buffer((T.int64(2), T.int64(8)), scope="global.sram")
    input_0_rows = T.alloc_buffer((T.int64(3), T.int64(8)), scope="global.sram")
    weight_0_1 = T.alloc_buffer((T.int64(18),), scope="global.sram")
    weight_2_1 = T.alloc_buffer((T.int64(4),), scope="global.sram")
    for vector in range(T.int64(1)):
        for lane in T.vectorized(T.int64(4)):
            weight_2_1[vector * T.int64(4) + lane] = p2[vector * T.int64(4) + lane]
    for band in range(T.int64(2)):
        for r in range(T.Cast("int64", program[band, T.int64(1)])):
            row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(0)]) + r
            for i0, i3 in T.grid(T.int64(1), T.int64(4)):
                for lane in T.vectorized(T.int64(2)):
                    input_0_rows[row % T.int64(3), i3 * T.int64(2) + i0 * T.int64(2) + lane] = p0[i0, lane, row, i3]
        for tile in range(T.int64(2)):
            for vector in range(T.int64(4)):
                for lane in T.vectorized(T.int64(4)):
                    weight_0_1[vector * T.int64(4) + lane] = p1[tile * T.int64(18) + vector * T.int64(4) + lane]
            for lane in T.vectorized(T.int64(2)):
                weight_0_1[lane + T.int64(16)] = p1[tile * T.int64(18) + lane + T.int64(16)]
            for r in range(T.Cast("int64", program[band, T.int64(3)])):
                row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(2)]) + r
                sums = T.alloc_local((T.int64(4),))
                for column in T.unroll(T.int64(4)):
                    sums[column] = T.float32(0.0)
                for tap_row in range(T.int64(3)):
                    if row + tap_row - T.int64(1) >= T.int64(0) and row + tap_row - T.int64(1) < T.int64(4):
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(3)):
                                sums[T.int64(1) + column] = (
                                    sums[T.int64(1) + column]
                                    + input_0_rows[
                                        (row + tap_row + T.int64(2)) % T.int64(3), column * T.int64(2) + channel
                                    ]
                                    * weight_0_1[tap_row * T.int64(6) + channel]
                                )
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(4)):
                                sums[column] = (
                                    sums[column]
                                    + input_0_rows[
                                        (row + tap_row + T.int64(2)) % T.int64(3), column * T.int64(2) + channel
                                    ]
                                    * weight_0_1[tap_row * T.int64(6) + channel + T.int64(2)]
                                )
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(3)):
                                sums[column] = (
                                    sums[column]
                                    + input_0_rows[
                                        (row + tap_row + T.int64(2)) % T.int64(3),
                                        column * T.int64(2) + channel + T.int64(2),
                                    ]
                                    * weight_0_1[tap_row * T.int64(6) + channel + T.int64(4)]
                                )
                for column in T.unroll(T.int64(4)):
                    conv2d_0_rows[row % T.int64(2), column * T.int64(2) + tile] = sums[column]
        for r in range(T.Cast("int64", program[band, T.int64(5)])):
            row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(4)]) + r
            for vector in range(T.int64(2)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_rows[row % T.int64(2), vector * T.int64(4) + lane] = T.max(
                        conv2d_0_rows[row % T.int64(2), vector * T.int64(4) + lane], T.float32(0.0)
                    )
        for r in range(T.Cast("int64", program[band, T.int64(7)])):
            row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(6)]) + r
            sums = T.alloc_local((T.int64(8),))
            for column in T.unroll(T.int64(4)):
                for lane in T.vectorized(T.int64(2)):
                    sums[column * T.int64(2) + lane] = T.float32(0.0)
            for channel in range(T.int64(2)):
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        sums[column * T.int64(2) + lane] = (
                            sums[column * T.int64(2) + lane]
                            + relu_1_rows[row % T.int64(2), column * T.int64(2) + channel]
                            * weight_2_1[channel * T.int64(2) + lane]
                        )
            for column in T.unroll(T.int64(4)):
                for lane in T.vectorized(T.int64(2)):
                    conv2d_2_rows[row % T.int64(2), column * T.int64(2) + lane] = sums[column * T.int64(2) + lane]
        for r in range(T.Cast("int64", program[band, T.int64(9)])):
            row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(8)]) + r
            for vector in range(T.int64(2)):
                for lane in T.vectorized(T.int64(4)):
                    add_3_rows[row % T.int64(2), vector * T.int64(4) + lane] = (
                        conv2d_2_rows[row % T.int64(2), vector * T.int64(4) + lane]
                        + input_0_rows[row % T.int64(3), vector * T.int64(4) + lane]
                    )
        for r in range(T.Cast("int64", program[band, T.int64(11)])):
            row: T.let[T.int64] = T.Cast("int64", program[band, T.int64(10)]) + r
            for i0, i1, vector in T.grid(T.int64(1), T.int64(2), T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    result_0[i0, i1, row, vector * T.int64(4) + lane] = add_3_rows[
                        row % T.int64(2), vector * T.int64(8) + lane * T.int64(2) + i0 * T.int64(2) + i1
                    ]
