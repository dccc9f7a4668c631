"""kernel_of: the kernel for an operator, where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tvm_fusion.graph.operator import Operator
from tvm_fusion.passes.lowering.blocks import Block
from tvm_fusion.passes.lowering.kernels.window import window_of
from tvm_fusion.passes.lowering.kernels.window_kernel import WindowKernel
from tvm_fusion.passes.lowering.vectors import Vectors


def kernel_of(
    bindings: Sequence[tuple[Any, Any]], blocks: Sequence[Block], operator: Operator, vectors: Vectors
) -> WindowKernel | None:
    """A kernel for an operator that computes ``bindings`` by ``blocks``, None if no kernel is for it."""
    window = window_of(bindings, blocks, operator)
    return None if window is None else WindowKernel(window, blocks[1] if len(blocks) > 1 else None, vectors)
