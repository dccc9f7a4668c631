"""A reshape and a padding of nothing go, two clips become one, dead work goes, the block stays a single one."""

# ruff: noqa: N805 (functions of a module in TVMScript have no self)
from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R
from tvm.script import tirx as T


@I.ir_module
class Before:
    @R.function
    def main(x: R.Tensor((1, 2, 4, 4), dtype="float32")) -> R.Tensor((1, 2, 4, 4), dtype="float32"):
        with R.dataflow():
            pooled = R.nn.max_pool2d(x, pool_size=[3, 3], padding=[1, 1, 1, 1])
            shaped = R.reshape(pooled, R.shape([1, 2, 4, 4]))
            padded = R.nn.pad(shaped, pad_width=[0, 0, 0, 0, 0, 0, 0, 0])
            low = R.clip(padded, T.float64(-2.0), T.float64(5.0))
            high = R.clip(low, T.float64(0.0), T.float64(9.0))
            unused = R.exp(x)  # noqa: F841
            total = R.add(high, x)
            R.output(total)
        return total


@I.ir_module
class Expected:
    @R.function
    def main(x: R.Tensor((1, 2, 4, 4), dtype="float32")) -> R.Tensor((1, 2, 4, 4), dtype="float32"):
        with R.dataflow():
            pooled = R.nn.max_pool2d(x, pool_size=[3, 3], padding=[1, 1, 1, 1])
            clipped = R.clip(pooled, T.float64(0.0), T.float64(5.0))
            total = R.add(clipped, x)
            result = total
            R.output(result)
        return result
