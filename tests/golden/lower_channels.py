"""conv1x1 -> relu -> conv1x1 -> add to the input, as one PrimFunc of two phases, four channels inside.

In the first phase a channel of the first convolution is made in the place of the relu's, and the second one adds it to
its sums; in the second phase the sum takes the memory of the input, channel by channel. Written for vectors of 16
bytes, four elements: a map of 2 x 2. Of the second convolution's weights and biases, 4 * 2 + 2 numbers, a quarter are
ten bytes: two numbers have room there, the two weights of an input channel or, after the last one, the biases.
"""

from __future__ import annotations

import functools
from typing import Any

import tvm
from tvm import relax
from tvm.script import tirx as T

from tests.passes.lowering.streamed import scaled, streamed
from tests.passes.modules import stepwise
from tvm_fusion.passes.lower_channels import LowerChannels


def before() -> tvm.IRModule:
    """The network."""

    def build(emit: Any, x: Any) -> Any:
        inside = emit(relax.op.nn.relu(scaled(emit, x, 4)))
        return relax.op.add(x, scaled(emit, inside, 2, seed=1))

    return stepwise(build, (1, 2, 2, 2))


@functools.cache
def lowered() -> tvm.IRModule:
    """What LowerChannels makes of the network: 102 bytes on chip, 152 from and to DRAM."""
    return LowerChannels()(streamed(before(), [[0, 1, 2], [3]], [-1, 2, 3]))


@T.prim_func(private=True)
def expected(
    p0: T.Buffer((T.int64(1), T.int64(2), T.int64(2), T.int64(2)), "float32"),
    p1: T.Buffer((T.int64(4), T.int64(2), T.int64(1), T.int64(1)), "float32"),
    p2: T.Buffer((T.int64(1), T.int64(4), T.int64(1), T.int64(1)), "float32"),
    p3: T.Buffer((T.int64(2), T.int64(4), T.int64(1), T.int64(1)), "float32"),
    p4: T.Buffer((T.int64(1), T.int64(2), T.int64(1), T.int64(1)), "float32"),
    program: T.Buffer((T.int64(2), T.int64(1)), "int32"),
    result_0: T.Buffer((T.int64(1), T.int64(2), T.int64(2), T.int64(2)), "float32"),
):
    T.func_attr(
        {
            "tirx.noalias": True,
            "tvm_fusion.batch": 1,
            "tvm_fusion.binding_operators": [0, 0, 1, 2, 2, 3, 3],
            "tvm_fusion.buffer_bytes": 50,
            "tvm_fusion.dram_bytes": 38,
            "tvm_fusion.group": 0,
            "tvm_fusion.ir_buffer_bytes": 102,
            "tvm_fusion.ir_dram_bytes": 152,
            "tvm_fusion.operands": [-1, -2147483648, -2147483648, -2147483648, -2147483648],
            "tvm_fusion.operators": [0, 1, 2, 3],
            "tvm_fusion.parameters": '{"phases": [[0, 1, 2], [3]], "resident": [-1, 2, 3]}',
            "tvm_fusion.row_axes": [2, -1, -1, -1, -1],
            "tvm_fusion.scheme": "channel-streaming",
        }
    )
    input_0_channels = T.alloc_buffer((T.int64(2), T.int64(4)), scope="global.sram")
    conv2d_2_channels = T.alloc_buffer((T.int64(2), T.int64(4)), scope="global.sram")
    relu_1_channel = T.alloc_buffer((T.int64(1), T.int64(4)), scope="global.sram")
    conv2d_0_weights = T.alloc_buffer((T.int64(3),), scope="global.sram")
    conv2d_2_weights = T.alloc_buffer((T.int64(2),), scope="global.sram")
    T.evaluate(program[T.int64(0), T.int64(0)])
    for _phase in range(T.int64(1)):
        for channel, i2, i0 in T.grid(T.int64(2), T.int64(2), T.int64(1)):
            for lane in T.vectorized(T.int64(2)):
                input_0_channels[channel, i2 * T.int64(2) + lane + i0] = p0[i0, channel, i2, lane]
        for v_ff, vector in T.grid(T.int64(2), T.int64(1)):
            for lane in T.vectorized(T.int64(4)):
                conv2d_2_channels[v_ff, vector * T.int64(4) + lane] = T.float32(0.0)
        for channel in range(T.int64(4)):
            for w0, w1, w2 in T.grid(T.int64(1), T.int64(2), T.int64(1)):
                conv2d_0_weights[w0 * T.int64(2) + w1 + w2] = p1[channel + w0, w1, w2, T.int64(0)]
            for w0, w1, w2 in T.grid(T.int64(1), T.int64(1), T.int64(1)):
                conv2d_0_weights[w0 + w1 + w2 + T.int64(2)] = p2[w0, channel + w1, w2, T.int64(0)]
            for vector in range(T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_channel[T.int64(0), vector * T.int64(4) + lane] = T.float32(0.0)
            for vector in range(T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_channel[T.int64(0), vector * T.int64(4) + lane] = (
                        relu_1_channel[T.int64(0), vector * T.int64(4) + lane]
                        + input_0_channels[T.int64(0), vector * T.int64(4) + lane] * conv2d_0_weights[T.int64(0)]
                        + input_0_channels[T.int64(1), vector * T.int64(4) + lane] * conv2d_0_weights[T.int64(1)]
                    )
            for vector in range(T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_channel[T.int64(0), vector * T.int64(4) + lane] = (
                        relu_1_channel[T.int64(0), vector * T.int64(4) + lane] + conv2d_0_weights[T.int64(2)]
                    )
            for vector in range(T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    relu_1_channel[T.int64(0), vector * T.int64(4) + lane] = T.max(
                        relu_1_channel[T.int64(0), vector * T.int64(4) + lane], T.float32(0.0)
                    )
            for w0, w1, w2 in T.grid(T.int64(2), T.int64(1), T.int64(1)):
                conv2d_2_weights[w0 + w1 + w2] = p3[w0, channel + w1, w2, T.int64(0)]
            for v_ff, vector in T.grid(T.int64(2), T.int64(1)):
                for lane in T.vectorized(T.int64(4)):
                    conv2d_2_channels[v_ff, vector * T.int64(4) + lane] = (
                        conv2d_2_channels[v_ff, vector * T.int64(4) + lane]
                        + relu_1_channel[T.int64(0), vector * T.int64(4) + lane] * conv2d_2_weights[v_ff]
                    )
        for w0, w1, w2 in T.grid(T.int64(1), T.int64(2), T.int64(1)):
            conv2d_2_weights[w0 * T.int64(2) + w1 + w2] = p4[w0, w1, w2, T.int64(0)]
        for v_ax1, vector in T.grid(T.int64(2), T.int64(1)):
            for lane in T.vectorized(T.int64(4)):
                conv2d_2_channels[v_ax1, vector * T.int64(4) + lane] = (
                    conv2d_2_channels[v_ax1, vector * T.int64(4) + lane] + conv2d_2_weights[v_ax1]
                )
    for _phase, channel in T.grid(T.int64(1), T.int64(2)):
        for vector in range(T.int64(1)):
            for lane in T.vectorized(T.int64(4)):
                input_0_channels[channel, vector * T.int64(4) + lane] = (
                    input_0_channels[channel, vector * T.int64(4) + lane]
                    + conv2d_2_channels[channel, vector * T.int64(4) + lane]
                )
        for i0, i2 in T.grid(T.int64(1), T.int64(2)):
            for lane in T.vectorized(T.int64(2)):
                result_0[i0, channel, i2, lane] = input_0_channels[channel, i2 * T.int64(2) + lane + i0]
