"""Two images through conv1x1 times its own mean, as one PrimFunc in two passes that both load the weights.

Written for vectors of 16 bytes, four elements. The second pass needs the most: a row of the input, of the convolution
and of the result, the scale and the weights.
"""

from __future__ import annotations

import functools

import tvm
from tvm.script import tirx as T

from tests.passes.lowering.in_passes import grouped, scaled
from tests.passes.modules import conv, stepwise
from tvm_fusion.passes.lower_passes import LowerPasses

# (what happens, row): in both passes 0 loads the weights, 1 a row of the input, 2 makes a row of the convolution, and 3
# the scale in the first pass, a row of the result in the second.
PROGRAM = (
    (0, 0), (1, 0), (2, 0), (1, 1), (2, 1), (1, 2), (2, 2), (1, 3), (2, 3), (3, 0),
    (0, 0), (1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (3, 3),
)  # fmt: skip


def before() -> tvm.IRModule:
    """The network."""
    return stepwise(lambda emit, x: scaled(emit, emit(conv(x, 2, kernel=1))), (2, 2, 4, 4))


@functools.cache
def lowered() -> tvm.IRModule:
    """What LowerPasses makes of it: 120 bytes on chip, 832 from and to DRAM."""
    return LowerPasses()(grouped(before(), weights="reloaded"))


@T.prim_func(private=True)
def expected(
    p0: T.Buffer((T.int64(2), T.int64(2), T.int64(4), T.int64(4)), "float32"),
    p1: T.Buffer((T.int64(4),), "float32"),
    program: T.Buffer((T.int64(23), T.int64(2)), "int32"),
    result_0: T.Buffer((T.int64(2), T.int64(2), T.int64(4), T.int64(4)), "float32"),
):
    T.func_attr(
        {
            "tirx.noalias": True,
            "tvm_fusion.batch": 2,
            "tvm_fusion.binding_operators": [0, 1, 2, 2],
            "tvm_fusion.buffer_bytes": 30,
            "tvm_fusion.dram_bytes": 208,
            "tvm_fusion.group": 0,
            "tvm_fusion.ir_buffer_bytes": 120,
            "tvm_fusion.ir_dram_bytes": 832,
            "tvm_fusion.operands": [-1, -2147483648],
            "tvm_fusion.operators": [0, 1, 2],
            "tvm_fusion.parameters": '{"kept": [], "split": [1], "weights": "reloaded"}',
            "tvm_fusion.row_axes": [2, -1],
            "tvm_fusion.scheme": "two-pass",
        }
    )
    global_avg_pool2d_1_rows = T.alloc_buffer((T.int64(1), T.int64(2)), scope="global.sram")
    conv2d_0_rows_pass_1 = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    input_0_rows_pass_1 = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    multiply_2_rows_pass_2 = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    conv2d_0_rows_pass_2 = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    input_0_rows_pass_2 = T.alloc_buffer((T.int64(1), T.int64(8)), scope="global.sram")
    weight_0_1_pass_1 = T.alloc_buffer((T.int64(4),), scope="global.sram")
    operand_0_red_1 = T.alloc_buffer((T.int64(2), T.int64(1), T.int64(1)), scope="global.accumulator")
    weight_0_1_pass_2 = T.alloc_buffer((T.int64(4),), scope="global.sram")
    for image in range(T.int64(2)):
        for event in range(T.int64(10)):
            row: T.let[T.int64] = T.Cast("int64", program[event, T.int64(1)])
            if program[event, T.int64(0)] < 2:
                if program[event, T.int64(0)] < 1:
                    for vector in range(T.int64(1)):
                        for lane in T.vectorized(T.int64(4)):
                            weight_0_1_pass_1[vector * T.int64(4) + lane] = p1[vector * T.int64(4) + lane]
                else:
                    for i3 in range(T.int64(4)):
                        for lane in T.vectorized(T.int64(2)):
                            input_0_rows_pass_1[T.int64(0), i3 * T.int64(2) + lane] = p0[image, lane, row, i3]
            elif program[event, T.int64(0)] < 3:
                sums = T.alloc_local((T.int64(8),))
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        sums[column * T.int64(2) + lane] = T.float32(0.0)
                for channel in range(T.int64(2)):
                    for column in T.unroll(T.int64(4)):
                        for lane in T.vectorized(T.int64(2)):
                            sums[column * T.int64(2) + lane] = (
                                sums[column * T.int64(2) + lane]
                                + input_0_rows_pass_1[T.int64(0), column * T.int64(2) + channel]
                                * weight_0_1_pass_1[channel * T.int64(2) + lane]
                            )
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        conv2d_0_rows_pass_1[T.int64(0), column * T.int64(2) + lane] = sums[column * T.int64(2) + lane]
                if row == T.int64(0):
                    for lane in T.vectorized(T.int64(2)):
                        operand_0_red_1[lane, T.int64(0), T.int64(0)] = T.float32(0.0)
                for v_k3 in range(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        operand_0_red_1[lane, T.int64(0), T.int64(0)] = (
                            operand_0_red_1[lane, T.int64(0), T.int64(0)]
                            + conv2d_0_rows_pass_1[T.int64(0), v_k3 * T.int64(2) + lane]
                        )
            else:
                for lane in T.vectorized(T.int64(2)):
                    global_avg_pool2d_1_rows[T.int64(0), lane] = operand_0_red_1[
                        lane, T.int64(0), T.int64(0)
                    ] / T.float32(16.0)
        for event in range(T.int64(13)):
            row: T.let[T.int64] = T.Cast("int64", program[T.int64(10) + event, T.int64(1)])
            if program[T.int64(10) + event, T.int64(0)] < 2:
                if program[T.int64(10) + event, T.int64(0)] < 1:
                    for vector in range(T.int64(1)):
                        for lane in T.vectorized(T.int64(4)):
                            weight_0_1_pass_2[vector * T.int64(4) + lane] = p1[vector * T.int64(4) + lane]
                else:
                    for i3 in range(T.int64(4)):
                        for lane in T.vectorized(T.int64(2)):
                            input_0_rows_pass_2[T.int64(0), i3 * T.int64(2) + lane] = p0[image, lane, row, i3]
            elif program[T.int64(10) + event, T.int64(0)] < 3:
                sums = T.alloc_local((T.int64(8),))
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        sums[column * T.int64(2) + lane] = T.float32(0.0)
                for channel in range(T.int64(2)):
                    for column in T.unroll(T.int64(4)):
                        for lane in T.vectorized(T.int64(2)):
                            sums[column * T.int64(2) + lane] = (
                                sums[column * T.int64(2) + lane]
                                + input_0_rows_pass_2[T.int64(0), column * T.int64(2) + channel]
                                * weight_0_1_pass_2[channel * T.int64(2) + lane]
                            )
                for column in T.unroll(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        conv2d_0_rows_pass_2[T.int64(0), column * T.int64(2) + lane] = sums[column * T.int64(2) + lane]
            else:
                for v_ax3 in range(T.int64(4)):
                    for lane in T.vectorized(T.int64(2)):
                        multiply_2_rows_pass_2[T.int64(0), v_ax3 * T.int64(2) + lane] = (
                            conv2d_0_rows_pass_2[T.int64(0), v_ax3 * T.int64(2) + lane]
                            * global_avg_pool2d_1_rows[T.int64(0), lane]
                        )
                for i1, vector in T.grid(T.int64(2), T.int64(1)):
                    for lane in T.vectorized(T.int64(4)):
                        result_0[image, i1, row, vector * T.int64(4) + lane] = multiply_2_rows_pass_2[
                            T.int64(0), vector * T.int64(8) + lane * T.int64(2) + i1
                        ]
