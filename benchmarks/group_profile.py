"""Where the time of a compiled plan goes: seconds of every function that its virtual machine calls."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import tvm
from tvm import relax

from benchmarks.lowered_plan import GroupFacts
from tvm_fusion.graph.graph import OperatorGraph

TOP = 20
NO_OP = 0  # of the virtual machine's instruments: go on as without one
Row = dict[str, Any]


def profile(
    executable: Any, inputs: Sequence[Any], groups: Sequence[GroupFacts], graph: OperatorGraph, runs: int
) -> list[Row]:
    """The TOP functions by time, with their share of the sum, bytes and MACs; the mean of ``runs`` runs."""
    device = tvm.cpu()
    machine = relax.VirtualMachine(executable, device)
    given = [tvm.runtime.tensor(np.asarray(array), device) for array in inputs]
    machine["main"](*given)  # not counted
    seconds: dict[str, float] = defaultdict(float)
    begins: list[float] = []

    def instrument(_function: Any, name: Any, before: Any, _result: Any, *_arguments: Any) -> int:
        if before:
            begins.append(time.perf_counter())
        else:
            seconds[str(name)] += time.perf_counter() - begins.pop()
        return NO_OP

    machine.set_instrument(instrument)
    for _ in range(runs):
        machine["main"](*given)
    total = sum(seconds.values())
    facts = {f"fused_group_{group.group}": group for group in groups}
    slowest = sorted(seconds, key=lambda name: -seconds[name])[:TOP]
    return [_row(name, seconds[name] / runs, seconds[name] / total, facts.get(name), graph) for name in slowest]


def _row(name: str, seconds: float, share: float, group: GroupFacts | None, graph: OperatorGraph) -> Row:
    row: Row = {"function": name, "milliseconds": round(1000 * seconds, 3), "share": round(share, 4)}
    if group is not None:
        row |= {
            "types": " ".join(graph.operators[i].type for i in group.operators),
            "lowered": group.lowered,
            "dram_bytes": group.dram_bytes,
            "macs": group.macs,
        }
    return row
