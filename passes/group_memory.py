"""group_memory: what the lowered groups of a module hold on chip and move, as VerifyMemory found it in their TIR."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tvm.ir import IRModule

from tvm_fusion.passes.attributes import (
    ACCUMULATOR_BYTES,
    GROUP,
    IR_BUFFER_BYTES,
    IR_DRAM_BYTES,
    IR_THREADS,
    MEMORY_MAP,
    group_functions,
)


@dataclass(frozen=True)
class GroupMemory:
    """Bytes at the element widths of the IR, on chip those of one of ``threads``.

    ``memory_map`` has (name, address, bytes) of every ring and weight.
    """

    group: int
    buffer_bytes: int
    dram_bytes: int
    accumulator_bytes: int
    threads: int
    memory_map: tuple[tuple[str, int, int], ...]

    @property
    def end_bytes(self) -> int:
        """The first address that nothing lies at: ``buffer_bytes`` and what alignment leaves empty."""
        return max((address + size for _, address, size in self.memory_map), default=0)

    def to_json(self) -> dict[str, Any]:
        """As in the memory report of ``tvm-fusion compile``."""
        return {
            "buffer_bytes": self.buffer_bytes,
            "end_bytes": self.end_bytes,
            "dram_bytes": self.dram_bytes,
            "accumulator_bytes": self.accumulator_bytes,
            "threads": self.threads,
            "memory_map": [
                {"name": name, "address": address, "bytes": size} for name, address, size in self.memory_map
            ],
        }


def group_memory(mod: IRModule) -> dict[str, GroupMemory]:
    """By function name, for every group that was lowered and verified."""
    return {
        name: GroupMemory(
            group=int(attributes[GROUP]),
            buffer_bytes=int(attributes[IR_BUFFER_BYTES]),
            dram_bytes=int(attributes[IR_DRAM_BYTES]),
            accumulator_bytes=int(attributes[ACCUMULATOR_BYTES]),
            threads=int(attributes.get(IR_THREADS, 1)),
            memory_map=tuple((str(key), int(address), int(size)) for key, address, size in attributes[MEMORY_MAP]),
        )
        for name, attributes in group_functions(mod).items()
        if MEMORY_MAP in attributes
    }
