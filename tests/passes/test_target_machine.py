"""target_machine: what a TVM target says of the machine that its code runs on."""

from __future__ import annotations

import pytest

from tvm_fusion.passes.target_machine import instructions, instructions_here, target_machine, this_machine


@pytest.mark.parametrize("target", ["llvm", "c", '{"kind": "llvm", "mcpu": "haswell"}'])
def test_targets_without_a_triple_are_for_this_machine(target: str) -> None:
    assert target_machine(target) == this_machine()
    assert this_machine()["processor"]


@pytest.mark.parametrize(("triple", "processor", "system"), [
    ("aarch64-linux-gnu", "aarch64", "Linux"),
    ("arm64-apple-darwin", "aarch64", "Darwin"),
    ("x86_64-pc-windows-msvc", "x86_64", "Windows"),
    ("riscv64-unknown-linux-gnu", "riscv64", "Linux"),
])  # fmt: skip
def test_triples(triple: str, processor: str, system: str) -> None:
    found = target_machine(f'{{"kind": "llvm", "mtriple": "{triple}"}}')
    assert found == {"processor": processor, "system": system}


def test_names_that_tvm_gives_to_boards() -> None:
    assert target_machine("raspberry-pi/4b-aarch64") == {"processor": "aarch64", "system": "Linux"}


def test_instructions() -> None:
    """More for a newer processor, and how to tune is none of them."""
    old, new = (
        set(instructions({"kind": "llvm", "mtriple": "x86_64-linux-gnu", "mcpu": cpu}))
        for cpu in ("nehalem", "haswell")
    )
    assert old < new
    assert {"avx2", "fma"} <= new - old
    assert not any(name.startswith(("fast-", "slow-", "prefer-")) for name in new)
    assert instructions("c") == []
    assert set(instructions("llvm")) <= set(instructions_here())
