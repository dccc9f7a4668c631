"""Vectors: the vector registers that the kernels are written for."""

from __future__ import annotations

from dataclasses import dataclass

# TVM puts an array on the stack, where LLVM can make registers of it, only below this size.
STACK_BYTES = 1024
# SSE and NEON; on other targets short loops.
PORTABLE_VECTOR_BYTES = 16
# By bytes of a vector register: how many sums may live in registers beside operands.
_ACCUMULATORS = {64: 14, 32: 12, 16: 12}


@dataclass(frozen=True)
class Vectors:
    """Vector registers of ``register_bytes`` bytes (64: AVX-512, 32: AVX2, 16: SSE and NEON)."""

    register_bytes: int = PORTABLE_VECTOR_BYTES

    def lanes(self, bits: int) -> int:
        """Elements of ``bits`` bits in a register."""
        return max(1, self.register_bytes * 8 // bits)

    @property
    def accumulators(self) -> int:
        """Registers for sums."""
        most = _ACCUMULATORS.get(self.register_bytes, 8)
        return min(most, (STACK_BYTES - 1) // self.register_bytes)
