"""What is known of the optimum after a search."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from math import ceil
from typing import Any

from tvm_fusion.search.algorithm import never
from tvm_fusion.search.ideal_path import IdealPath
from tvm_fusion.search.lower_bound import LowerBound
from tvm_fusion.search.problem import FusionProblem, Partition

FOR_PLAN = 0.2  # part of the seconds that is left to make a plan of the groups met
MOST_CHECKS = 20_000  # of groups on the way to a bound that nobody asked for
STEPS = 32  # in how many values the way from the least to the plan is cut, of which the powers of two are tried


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


def prove(problem: FusionProblem, plan: Partition, seconds: float | None, at_least: int = 0) -> Proof:
    """How far ``plan`` is from the optimum at most, found in about so many seconds; 0: not looked for.

    None: by a fixed amount of work (:meth:`~tvm_fusion.search.lower_bound.LowerBound.run`). ``at_least`` bytes are
    proven by the search already. The groups that the oracle has met help. Where what a group needs has no linear
    relaxation (:mod:`tvm_fusion.search.requirements`), values are refuted from below on the lattice of ideals, as far
    as the time allows. Ctrl-C keeps the bound so far. Objectives other than DRAM bytes have the compulsory traffic for
    a bound.
    """
    least = problem.oracle.compulsory_dram_bytes
    if problem.oracle.objective.name != "dram" or seconds == 0:
        return Proof(least, optimal=False)
    begin = time.perf_counter()
    bound = LowerBound(problem, groups=problem.oracle.valid_groups)
    found = _by_ideals(problem, plan, seconds, at_least) if bound.finished else _by_prices(bound, plan, seconds)
    return replace(found, seconds=time.perf_counter() - begin)


def _by_prices(bound: LowerBound, plan: Partition, seconds: float | None) -> Proof:
    problem, better = bound.problem, None
    dram_bytes = problem.plan_value(plan)
    with suppress(KeyboardInterrupt):
        for_plan = None if seconds is None else FOR_PLAN * seconds
        bound.run(None if seconds is None else seconds - FOR_PLAN * seconds, goal_bytes=dram_bytes)
        if bound.sweeps and bound.bytes < dram_bytes:
            better = bound.plan(dram_bytes, for_plan)
    if better is not None:
        dram_bytes = problem.plan_value(better)
    return Proof(bound.bytes, bound.bytes >= dram_bytes, bound.certificate(), better=better)


def _by_ideals(problem: FusionProblem, plan: Partition, seconds: float | None, at_least: int) -> Proof:
    checks = MOST_CHECKS if seconds is None else None
    path = IdealPath(problem, plan=plan, max_checks=checks, at_least=at_least, steps=STEPS)
    until = None if seconds is None else time.perf_counter() + seconds
    optimal, better = False, None
    with suppress(KeyboardInterrupt):
        optimal = path.solve(never if until is None else lambda: time.perf_counter() >= until)
    if optimal and path.at_least < problem.plan_value(plan):
        better = path.partition()
    return Proof(path.at_least, optimal, path.certificate(), better=better)


def most_above_percent(dram_bytes: int, lower_bound_bytes: int) -> float:
    """Percent by which a plan may be above the optimum, rounded up to two decimals."""
    return ceil(10_000 * (dram_bytes - lower_bound_bytes) / max(1, lower_bound_bytes)) / 100
