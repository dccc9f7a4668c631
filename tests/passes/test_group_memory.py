"""group_memory: the facts of VerifyMemory as plain numbers, of lowered groups alone."""

from __future__ import annotations

from tests.golden import lower_line_buffer as golden
from tests.passes.networks import named, plan_of, whole
from tvm_fusion.passes import LowerGroups, extract, group_memory
from tvm_fusion.passes.compile_plan import lower_plan


def test_golden_group() -> None:
    mod = golden.before()
    lowered = lower_plan(mod, whole(extract(mod).graph), alignment=100)
    found = group_memory(lowered)
    assert found == group_memory(LowerGroups()(lowered))
    (memory,) = found.values()
    assert (memory.group, memory.buffer_bytes, memory.dram_bytes) == (0, 320, 416)
    ends = [address + size for _, address, size in memory.memory_map]
    assert memory.end_bytes == max(ends) > 320
    data = memory.to_json()
    assert [(entry["name"], entry["address"], entry["bytes"]) for entry in data["memory_map"]] == list(
        memory.memory_map
    )
    assert data["end_bytes"] == memory.end_bytes


def test_groups_that_are_not_lowered_are_left_out() -> None:
    mod = named("residual")
    plan = plan_of(extract(mod).graph, (0, 1))
    assert list(group_memory(lower_plan(mod, plan))) == [f"fused_group_{k}" for k in range(4)]
    assert group_memory(lower_plan(mod, plan, lower=False)) == {}
    assert group_memory(mod) == {}
