"""conv3x3 -> relu -> conv1x1 -> add to the input, as one PrimFunc: three rows of the input, one of each result.

The relu is in place (its operand lives in its row), and so is the second convolution (in the row of the sum).
"""

from __future__ import annotations

from typing import Any

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


@T.prim_func(private=True)
def expected(
    p0: T.Buffer((T.int64(1), T.int64(2), T.int64(4), T.int64(4)), "float32"),
    p1: T.Buffer((T.int64(2), T.int64(2), T.int64(3), T.int64(3)), "float32"),
    p2: T.Buffer((T.int64(2), T.int64(2), T.int64(1), T.int64(1)), "float32"),
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
    conv2d_nchw_0 = T.alloc_buffer((T.int64(1),), scope="global.accumulator")
    weight_2_1 = T.alloc_buffer((T.int64(4),), scope="global.sram")
    conv2d_nchw_2 = T.alloc_buffer((T.int64(1),), scope="global.accumulator")
    for w0, w1, w2, w3 in T.grid(T.int64(2), T.int64(2), T.int64(3), T.int64(3)):
        weight_0_1[w0 * T.int64(18) + w1 * T.int64(9) + w2 * T.int64(3) + w3] = p1[w0, w1, w2, w3]
    for w0, w1, w2, w3 in T.grid(T.int64(2), T.int64(2), T.int64(1), T.int64(1)):
        weight_2_1[w0 * T.int64(2) + w1 + w2 + w3] = p2[w0, w1, w2, w3]
    for event in range(T.int64(20)):
        row: T.let[T.int64] = T.Cast("int64", program[event, T.int64(1)])
        if program[event, T.int64(0)] < 2:
            if program[event, T.int64(0)] < 1:
                for i0, i1, i3 in T.grid(T.int64(1), T.int64(2), T.int64(4)):
                    input_0_rows[row % T.int64(3), i3 * T.int64(2) + i0 * T.int64(2) + i1] = p0[i0, i1, row, i3]
            else:
                for v_ff, v_xx in T.grid(T.int64(2), T.int64(4)):
                    conv2d_nchw_0[T.int64(0)] = T.float32(0.0)
                    for v_rc, v_ry, v_rx in T.grid(T.int64(2), T.int64(3), T.int64(3)):
                        conv2d_nchw_0[T.int64(0)] = (
                            conv2d_nchw_0[T.int64(0)]
                            + T.if_then_else(
                                T.int64(1) <= row + v_ry
                                and row + v_ry < T.int64(5)
                                and T.int64(1) <= v_xx + v_rx
                                and v_xx + v_rx < T.int64(5),
                                input_0_rows[
                                    (row + v_ry + T.int64(2)) % T.int64(3),
                                    v_xx * T.int64(2) + v_rx * T.int64(2) + v_rc - T.int64(2),
                                ],
                                T.float32(0.0),
                            )
                            * weight_0_1[v_ff * T.int64(18) + v_rc * T.int64(9) + v_ry * T.int64(3) + v_rx]
                        )
                    relu_1_rows[T.int64(0), v_xx * T.int64(2) + v_ff] = conv2d_nchw_0[T.int64(0)]
        elif program[event, T.int64(0)] < 3:
            for v_i1, v_i3 in T.grid(T.int64(2), T.int64(4)):
                relu_1_rows[T.int64(0), v_i3 * T.int64(2) + v_i1] = T.max(
                    relu_1_rows[T.int64(0), v_i3 * T.int64(2) + v_i1], T.float32(0.0)
                )
        elif program[event, T.int64(0)] < 4:
            for v_ff, v_xx in T.grid(T.int64(2), T.int64(4)):
                conv2d_nchw_2[T.int64(0)] = T.float32(0.0)
                for v_rc in range(T.int64(2)):
                    conv2d_nchw_2[T.int64(0)] = (
                        conv2d_nchw_2[T.int64(0)]
                        + relu_1_rows[T.int64(0), v_xx * T.int64(2) + v_rc] * weight_2_1[v_ff * T.int64(2) + v_rc]
                    )
                add_3_rows[T.int64(0), v_xx * T.int64(2) + v_ff] = conv2d_nchw_2[T.int64(0)]
        else:
            for v_ax1, v_ax3 in T.grid(T.int64(2), T.int64(4)):
                add_3_rows[T.int64(0), v_ax3 * T.int64(2) + v_ax1] = (
                    add_3_rows[T.int64(0), v_ax3 * T.int64(2) + v_ax1]
                    + input_0_rows[row % T.int64(3), v_ax3 * T.int64(2) + v_ax1]
                )
            for i0, i1, i3 in T.grid(T.int64(1), T.int64(2), T.int64(4)):
                result_0[i0, i1, row, i3] = add_3_rows[T.int64(0), i3 * T.int64(2) + i0 * T.int64(2) + i1]
