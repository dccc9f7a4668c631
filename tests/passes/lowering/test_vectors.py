"""Vectors: how many elements a register holds, and that sums stay where LLVM makes registers of them."""

from __future__ import annotations

import pytest

from tvm_fusion.passes.lowering.vectors import Vectors


@pytest.mark.parametrize(("register_bytes", "bits", "lanes"), [
    (16, 32, 4), (32, 32, 8), (64, 32, 16), (16, 8, 16), (16, 64, 2), (64, 16, 32), (4, 64, 1),
])  # fmt: skip
def test_lanes(register_bytes: int, bits: int, lanes: int) -> None:
    assert Vectors(register_bytes).lanes(bits) == lanes


@pytest.mark.parametrize("register_bytes", [4, 16, 32, 64, 128, 256])
def test_sums_take_less_than_what_tvm_puts_on_the_stack(register_bytes: int) -> None:
    """TVM's bound is 1,024 bytes, exclusive."""
    assert 1 <= Vectors(register_bytes).accumulators * register_bytes < 1024
