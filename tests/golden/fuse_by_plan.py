"""Three operators in two groups: the first hands two results on as a tuple, the second is one call."""

# ruff: noqa: N805 (functions of a module in TVMScript have no self)
from __future__ import annotations

from tvm.script import ir as I
from tvm.script import relax as R

GROUPS = ((0, 1), (2,))


@I.ir_module
class Before:
    @R.function
    def main(x: R.Tensor((1, 2, 4, 4), dtype="float32")) -> R.Tensor((1, 2, 4, 4), dtype="float32"):
        with R.dataflow():
            pooled = R.nn.max_pool2d(x, pool_size=[3, 3], padding=[1, 1, 1, 1])
            weighted = R.nn.softmax(pooled, axis=1)
            total = R.multiply(pooled, weighted)
            R.output(total)
        return total


@I.ir_module
class Expected:
    @R.function(private=True)
    def fused_group_0(
        x: R.Tensor((1, 2, 4, 4), dtype="float32"),
    ) -> R.Tuple(R.Tensor((1, 2, 4, 4), dtype="float32"), R.Tensor((1, 2, 4, 4), dtype="float32")):
        R.func_attr(
            {
                "Primitive": 1,
                "tvm_fusion.group": 0,
                "tvm_fusion.scheme": "lbdf",
                "tvm_fusion.operators": [0, 1],
                "tvm_fusion.buffer_bytes": 40,
                "tvm_fusion.dram_bytes": 96,
                "tvm_fusion.batch": 1,
                "tvm_fusion.operands": [-1],
                "tvm_fusion.row_axes": [2],
                "tvm_fusion.binding_operators": [0, 1],
            }
        )
        with R.dataflow():
            pooled = R.nn.max_pool2d(x, pool_size=[3, 3], padding=[1, 1, 1, 1])
            weighted = R.nn.softmax(pooled, axis=1)
            pooled_out = pooled
            weighted_out = weighted
            R.output(pooled_out, weighted_out)
        return (pooled_out, weighted_out)

    @R.function(private=True)
    def fused_group_1(
        pooled: R.Tensor((1, 2, 4, 4), dtype="float32"), weighted: R.Tensor((1, 2, 4, 4), dtype="float32")
    ) -> R.Tensor((1, 2, 4, 4), dtype="float32"):
        R.func_attr(
            {
                "Primitive": 1,
                "tvm_fusion.group": 1,
                "tvm_fusion.scheme": "lbdf",
                "tvm_fusion.operators": [2],
                "tvm_fusion.buffer_bytes": 24,
                "tvm_fusion.dram_bytes": 96,
                "tvm_fusion.batch": 1,
                "tvm_fusion.operands": [0, 1],
                "tvm_fusion.row_axes": [2, 2],
                "tvm_fusion.binding_operators": [2, 2],
            }
        )
        with R.dataflow():
            total = R.multiply(pooled, weighted)
            result = total
            result_out = result
            R.output(result_out)
        return result_out

    @R.function
    def main(x: R.Tensor((1, 2, 4, 4), dtype="float32")) -> R.Tensor((1, 2, 4, 4), dtype="float32"):
        cls = Expected
        with R.dataflow():
            results = cls.fused_group_0(x)
            pooled = results[0]
            weighted = results[1]
            total = cls.fused_group_1(pooled, weighted)
            result = total
            R.output(result)
        return result
