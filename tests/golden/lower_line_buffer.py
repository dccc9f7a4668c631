"""conv3x3 -> relu -> conv1x1 -> add to the input, as one PrimFunc: three rows of the input, one of each result.

The relu is in place (its operand lives in its row), and so is the second convolution (in the row of the sum). Written
for vectors of 16 bytes, four elements. A convolution keeps the four columns by two channels of its row in registers;
its weights lie by tap row, tap column, input channel, output channel. The first and the last tap of a row see no input
at the first and the last column.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tvm
from tvm import relax
from tvm.script import tirx as T

from tests.passes.modules import conv, stepwise

# (tensor, row): 0 is the input, then the operators in their order.
EVENTS = (
    (0, 0), (0, 1), (1, 0), (2, 0), (3, 0), (4, 0),
    (0, 2), (1, 1), (2, 1), (3, 1), (4, 1),
    (0, 3), (1, 2), (2, 2), (3, 2), (4, 2),
    (1, 3), (2, 3), (3, 3), (4, 3),
)  # fmt: skip


def before() -> tvm.IRModule:
    """The network."""

    def build(emit: Any, x: Any) -> Any:
        filtered = emit(relax.op.nn.relu(emit(conv(x, 2))))
        return relax.op.add(emit(conv(filtered, 2, kernel=1, seed=1)), x)

    return stepwise(build, (1, 2, 4, 4))


def packed(weight: np.ndarray) -> np.ndarray:
    """A weight (output, input, row, column) in the order in which the function reads it."""
    return weight.transpose(2, 3, 1, 0).reshape(-1)


@T.prim_func(private=True)
def expected(
    p0: T.Buffer((T.int64(1), T.int64(2), T.int64(4), T.int64(4)), "float32"),
    p1: T.Buffer((T.int64(36),), "float32"),
    p2: T.Buffer((T.int64(4),), "float32"),
    program: T.Buffer((T.int64(20), T.int64(2)), "int32"),
    result_0: T.Buffer((T.int64(1), T.int64(2), T.int64(4), T.int64(4)), "float32"),
):
    T.func_attr(
        {
            "tirx.noalias": True,
            "tvm_fusion.batch": 1,
            "tvm_fusion.binding_operators": [0, 1, 2, 3, 3],
            "tvm_fusion.buffer_bytes": 80,
            "tvm_fusion.dram_bytes": 104,
            "tvm_fusion.group": 0,
            "tvm_fusion.ir_buffer_bytes": 320,
            "tvm_fusion.ir_dram_bytes": 416,
            "tvm_fusion.operands": [-1, -2147483648, -2147483648],
            "tvm_fusion.operators": [0, 1, 2, 3],
            "tvm_fusion.row_axes": [2, -1, -1],
            "tvm_fusion.scheme": "lbdf",
        }
    )
    add_3_rows = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    relu_1_rows = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    input_0_rows = T.alloc_buffer((T.int64(3), T.int64(8)), scope="global.sram")
    weight_0_1 = T.alloc_buffer((T.int64(36),), scope="global.sram")
    weight_2_1 = T.alloc_buffer((T.int64(4),), scope="global.sram")
    for vector in range(T.int64(9)):
        for lane in T.vectorized(T.int64(4)):
            weight_0_1[vector * T.int64(4) + lane] = p1[vector * T.int64(4) + lane]
    for vector in range(T.int64(1)):
        for lane in T.vectorized(T.int64(4)):
            weight_2_1[vector * T.int64(4) + lane] = p2[vector * T.int64(4) + lane]
    for event in range(T.int64(20)):
        row: T.let[T.int64] = T.Cast("int64", program[event, T.int64(1)])
        if program[event, T.int64(0)] < 2:
            if program[event, T.int64(0)] < 1:
                for i0, i3 in T.grid(T.int64(1), T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        input_0_rows[row % T.int64(3), i3 * T.int64(2) + i0 * T.int64(2) + lane] = p0[i0, lane, row, i3]
            else:
                sums = T.alloc_local((T.int64(8),))
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        sums[column * T.int64(2) + lane] = T.float32(0.0)
                for tap_row in range(T.int64(3)):
                    if row + tap_row - T.int64(1) >= T.int64(0) and row + tap_row - T.int64(1) < T.int64(4):
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(3)):
                                for lane in T.vectorized(T.int64(2)):
                                    sums[(T.int64(1) + column) * T.int64(2) + lane] = (
                                        sums[(T.int64(1) + column) * T.int64(2) + lane]
                                        + input_0_rows[
                                            (row + tap_row + T.int64(2)) % T.int64(3), column * T.int64(2) + channel
                                        ]
                                        * weight_0_1[tap_row * T.int64(12) + channel * T.int64(2) + lane]
                                    )
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(4)):
                                for lane in T.vectorized(T.int64(2)):
                                    sums[column * T.int64(2) + lane] = (
                                        sums[column * T.int64(2) + lane]
                                        + input_0_rows[
                                            (row + tap_row + T.int64(2)) % T.int64(3), column * T.int64(2) + channel
                                        ]
                                        * weight_0_1[tap_row * T.int64(12) + channel * T.int64(2) + lane + T.int64(4)]
                                    )
                        for channel in range(T.int64(2)):
                            for column in T.unroll(T.int64(3)):
                                for lane in T.vectorized(T.int64(2)):
                                    sums[column * T.int64(2) + lane] = (
                                        sums[column * T.int64(2) + lane]
                                        + input_0_rows[
                                            (row + tap_row + T.int64(2)) % T.int64(3),
                                            column * T.int64(2) + channel + T.int64(2),
                                        ]
                                        * weight_0_1[tap_row * T.int64(12) + channel * T.int64(2) + lane + T.int64(8)]
                                    )
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        relu_1_rows[T.int64(0), column * T.int64(2) + lane] = sums[column * T.int64(2) + lane]
        elif program[event, T.int64(0)] < 3:
            for vector in range(T.int64(2)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_rows[T.int64(0), vector * T.int64(4) + lane] = T.max(
                        relu_1_rows[T.int64(0), vector * T.int64(4) + lane], T.float32(0.0)
                    )
        elif program[event, T.int64(0)] < 4:
            sums = T.alloc_local((T.int64(8),))
            for column in T.unroll(T.int64(4)):
                for lane in T.vectorized(T.int64(2)):
                    sums[column * T.int64(2) + lane] = T.float32(0.0)
            for channel in range(T.int64(2)):
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        sums[column * T.int64(2) + lane] = (
                            sums[column * T.int64(2) + lane]
                            + relu_1_rows[T.int64(0), column * T.int64(2) + channel]
                            * weight_2_1[channel * T.int64(2) + lane]
                        )
            for column in T.unroll(T.int64(4)):
                for lane in T.vectorized(T.int64(2)):
                    add_3_rows[T.int64(0), column * T.int64(2) + lane] = sums[column * T.int64(2) + lane]
        else:
            for vector in range(T.int64(2)):
                for lane in T.vectorized(T.int64(4)):
                    add_3_rows[T.int64(0), vector * T.int64(4) + lane] = (
                        add_3_rows[T.int64(0), vector * T.int64(4) + lane]
                        + input_0_rows[row % T.int64(3), vector * T.int64(4) + lane]
                    )
            for i0, i1, vector in T.grid(T.int64(1), T.int64(2), T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    result_0[i0, i1, row, vector * T.int64(4) + lane] = add_3_rows[
                        T.int64(0), vector * T.int64(8) + lane * T.int64(2) + i0 * T.int64(2) + i1
                    ]
