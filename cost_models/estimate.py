"""Estimated cycles and energy of a group: a roofline, labelled as an estimate wherever it is shown."""

from __future__ import annotations

from collections.abc import Iterable

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import members


def estimated_cycles(accelerator: Accelerator, dram_bytes: int, macs: int) -> float:
    """The larger of transfer and compute time, in cycles of the accelerator's clock."""
    transfer = dram_bytes * accelerator.clock_hz / accelerator.dram_bytes_per_second
    return max(transfer, macs / accelerator.macs_per_cycle)


def estimated_energy_pj(accelerator: Accelerator, sizes: Sizes, mask: int, dram_bytes: int, macs: int) -> float:
    """DRAM, SRAM and arithmetic energy in pJ.

    SRAM traffic: a tensor is written once and read once by each of its readers in the group; an
    operator's weights are read once for every output row. What a scheme executes again is in ``macs`` alone.
    """
    sram_bytes = group_sram_bytes(sizes, members(mask))
    sram_bytes += sum(sizes.tensor_bytes[i] for i in sizes.outside_inputs(mask))
    return (
        dram_bytes * accelerator.dram_pj_per_byte
        + sram_bytes * accelerator.sram_pj_per_byte
        + macs * accelerator.mac_pj
    )


def group_sram_bytes(sizes: Sizes, operators: Iterable[int]) -> int:
    """On-chip bytes that operators write and read, wherever their operands come from."""
    sram_bytes = 0
    for i in operators:
        operator = sizes.graph.operators[i]
        sram_bytes += sizes.tensor_bytes[i] + sum(sizes.tensor_bytes[operand] for operand in operator.inputs)
        sram_bytes += sizes.weight_bytes[i] * operator.height * operator.batch
    return sram_bytes
