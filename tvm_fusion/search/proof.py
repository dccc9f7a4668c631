"""What is known of the optimum after a search."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field
from math import ceil
from typing import Any

from tvm_fusion.search.lower_bound import LowerBound
from tvm_fusion.search.problem import FusionProblem, Partition

FOR_PLAN = 0.2  # part of the seconds that is left to make a plan of the groups met


@dataclass(frozen=True, slots=True)
class Proof:
    """No plan of the oracle's schemes moves less than ``lower_bound_bytes``; ``certificate`` says why.

    ``optimal``: the plan is the least by the objective. Without a certificate the bound is the compulsory traffic.
    ``better``: a plan that moves less, made of groups that the bound has met.
    """

    lower_bound_bytes: int
    optimal: bool
    certificate: dict[str, Any] = field(default_factory=dict)
    seconds: float = 0.0
    better: Partition | None = None


def prove(problem: FusionProblem, dram_bytes: int, seconds: float | None) -> Proof:
    """How far a plan that moves ``dram_bytes`` is from the optimum at most, found in about so many seconds.

    None: by a fixed amount of work (:meth:`~tvm_fusion.search.lower_bound.LowerBound.run`).
    The groups that the oracle has met help. Ctrl-C keeps the bound so far. Objectives other than DRAM bytes have the
    compulsory traffic for a bound.
    """
    least = problem.oracle.compulsory_dram_bytes
    if problem.oracle.objective.name != "dram" or seconds == 0:
        return Proof(least, optimal=False)
    begin = time.perf_counter()
    bound = LowerBound(problem, groups=problem.oracle.valid_groups)
    better = None
    with suppress(KeyboardInterrupt):
        for_plan = None if seconds is None else FOR_PLAN * seconds
        bound.run(None if seconds is None else seconds - FOR_PLAN * seconds, goal_bytes=dram_bytes)
        if bound.sweeps and bound.bytes < dram_bytes:
            better = bound.plan(dram_bytes, for_plan)
    if better is not None:
        dram_bytes = problem.plan_value(better)
    took = time.perf_counter() - begin
    return Proof(bound.bytes, bound.bytes >= dram_bytes, bound.certificate(), took, better)


def most_above_percent(dram_bytes: int, lower_bound_bytes: int) -> float:
    """Percent by which a plan may be above the optimum, rounded up to two decimals."""
    return ceil(10_000 * (dram_bytes - lower_bound_bytes) / max(1, lower_bound_bytes)) / 100
