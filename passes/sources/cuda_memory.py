"""CudaMemory: where the buffers of a group's kernels lie, in shared memory of a block or in the workspace."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tvm_fusion.passes.sources.c_expressions import C_TYPES, c_dtype
from tvm_fusion.passes.sources.c_statements import buffer_elements

BLOCK_MEMORY = "tvm_fusion_block_memory"
ALIGNMENT = 16  # of every buffer: no element is wider


class CudaMemory:
    """What kernels share lies in the workspace, what a block has of its own in shared memory, as far as
    ``shared_bytes`` go; what does not fit has one place in the workspace for every block.

    ``workspace_bytes`` is what the caller must give, for all kernels that were placed.
    """

    def __init__(self, shared: Sequence[Any], shared_bytes: int) -> None:
        self.limit = shared_bytes
        self.common: dict[Any, int] = {}
        self.end = 0
        for buffer in shared:
            self.common[buffer] = self.end
            self.end += _aligned(buffer)
        self.workspace_bytes = self.end

    def kernel(self, own: Sequence[Any], blocks: int) -> KernelMemory:
        """Places of the buffers that every one of ``blocks`` has of its own.

        Kernels execute one after another, so that all of them use the same part of the workspace.
        """
        inside: dict[Any, int] = {}
        outside: dict[Any, int] = {}
        used = apart = 0
        for buffer in own:
            size = _aligned(buffer)
            if used + size <= self.limit:
                inside[buffer], used = used, used + size
            else:
                outside[buffer], apart = apart, apart + size
        self.workspace_bytes = max(self.workspace_bytes, self.end + blocks * apart)
        return KernelMemory(self, inside, outside, used, apart if blocks > 1 else 0)


class KernelMemory:
    """Places of one kernel's buffers; ``shared_bytes`` of shared memory, ``stride`` from block to block in the
    workspace."""

    def __init__(
        self, memory: CudaMemory, inside: dict[Any, int], outside: dict[Any, int], shared_bytes: int, stride: int
    ) -> None:
        self.shared_bytes = shared_bytes
        self._memory, self._inside, self._outside, self._stride = memory, inside, outside, stride

    def in_workspace(self, buffer: Any) -> bool:
        """Whether a buffer that has a place is in the workspace."""
        return buffer not in self._inside

    def pointer(self, buffer: Any, name: str) -> str:
        """The declaration of ``name`` as a pointer to where ``buffer`` is."""
        kind = C_TYPES[c_dtype(buffer)]
        return f"{kind} *const {name} = ({kind} *)({self._place(buffer)});"

    def _place(self, buffer: Any) -> str:
        if buffer in self._inside:
            return f"{BLOCK_MEMORY} + {self._inside[buffer]}"
        if buffer in self._memory.common:
            return f"workspace + {self._memory.common[buffer]}"
        first = self._memory.end + self._outside[buffer]
        return f"workspace + (size_t)blockIdx.x * {self._stride} + {first}" if self._stride else f"workspace + {first}"


def _aligned(buffer: Any) -> int:
    size = buffer_elements(buffer) * np.dtype(c_dtype(buffer)).itemsize
    return -(-size // ALIGNMENT) * ALIGNMENT
