"""CudaFunction: the text of one kernel of a group, and of its launch."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tvm import tirx

from tvm_fusion.passes.lowering.expressions import as_int
from tvm_fusion.passes.lowering.row_buffers import ACCUMULATOR_SCOPE
from tvm_fusion.passes.sources.c_expressions import C_TYPES, c_dtype
from tvm_fusion.passes.sources.c_statements import CStatements
from tvm_fusion.passes.sources.cuda_kernels import Kernel
from tvm_fusion.passes.sources.cuda_memory import CudaMemory
from tvm_fusion.passes.sources.group_source import GroupSource


class CudaFunction:
    """Prints ``kernel`` of ``group`` as the function ``name``; ``shared`` are the buffers that kernels share.

    Its parameters are the arguments of the group that it touches, the workspace if anything of it lies there, and the
    variables of the host's loops.
    """

    def __init__(
        self, group: GroupSource, kernel: Kernel, name: str, shared: Sequence[Any], memory: CudaMemory
    ) -> None:
        self.group, self.kernel, self.name = group, kernel, name
        loops = [*kernel.loops, *([] if kernel.block is None else [kernel.block])]
        values = {loop.loop_var: _values(loop) for loop in loops}
        # What comes from outside has the same name in every kernel, as it is named first and in the same order.
        function = tirx.PrimFunc([*group.function.params, *shared, *values], kernel.body)
        self.body = CStatements(function, (group.scope, ACCUMULATOR_SCOPE), group.scope, group.largest, values)
        self.names = self.body.expressions.names
        self.memory = memory.kernel(self.body.statics, kernel.count)
        self.placed = [buffer for buffer in (*shared, *self.body.statics) if buffer in self.body.touched]
        self.uses_workspace = any(map(self.memory.in_workspace, self.placed))
        self.arguments = [p for p in group.arguments() if p in self.body.touched]
        self.outer = [loop.loop_var for loop in kernel.loops if loop.loop_var in self.body.used]

    def lines(self) -> Iterator[str]:
        """The function."""
        params = [self.group.pointer(p, p in self.body.written, "__restrict__") for p in self.arguments]
        params += ["unsigned char *workspace"] * self.uses_workspace
        params += [f"{C_TYPES[c_dtype(var)]} {self.names[var]}" for var in self.outer]
        yield f'extern "C" __global__ void {self.name}({", ".join(params)}) {{'
        block = self.kernel.block
        if block is not None and block.loop_var in self.body.used:
            kind, low = C_TYPES[c_dtype(block.loop_var)], as_int(block.min)
            first = f"{low} + " if low else ""
            yield f"  const {kind} {self.names[block.loop_var]} = {first}({kind})blockIdx.x;"
        for buffer in self.placed:
            yield f"  {self.memory.pointer(buffer, self.names[buffer])}"
        yield from self.body.lines
        yield "}"
        yield ""

    def launch(self) -> str:
        """The statement of the host."""
        given = [self.names[p] for p in self.arguments]
        given += ["(unsigned char *)workspace"] * self.uses_workspace
        given += [self.names[var] for var in self.outer]
        grid = f"{self.name}, {self.kernel.count}, {self.memory.shared_bytes}, stream"
        return f"TVM_FUSION_LAUNCH({', '.join([grid, *given])});"


def _values(loop: Any) -> range:
    return range(int(loop.min), int(loop.min) + int(loop.extent))
