"""GroupProgramme: which group gains most at given prices, as a mixed integer programme.

Variables: 1 for every operator in the group (integer); for every tensor that the group may touch, whether it is read
from outside and whether it is written (continuous, they follow); and those of the requirement. A group of an acyclic
partition is convex: an operator with a member above it and one below it (or itself) is a member. It is connected, which
is added inequality by inequality where a solution is not. Every relaxation of a real group is allowed, so the
optimum is an upper bound of what any group gains.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import floor, inf

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csr_array

from tvm_fusion.graph.graph import members, reachable
from tvm_fusion.quiet import captured_stdout
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.requirement import Requirement

Term = tuple[int, float]

_KIB = 1024.0  # objective in KiB: HiGHS's tolerance of 1e-7 then is far below the half byte that rounding takes
_INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class BestGroup:
    """No group gains more than ``gain_bytes`` (None: there is no group); ``mask`` is one that gains so much, or 0."""

    gain_bytes: int | None
    mask: int


class GroupProgramme:
    """Groups of at least two operators inside ``domain`` (a mask) that contain the operator ``root``."""

    def __init__(self, problem: FusionProblem, root: int, domain: int) -> None:
        self.problem = problem
        self.root = root
        self.domain = domain
        self._cost: list[float] = []
        self._upper: list[float] = []
        self._whole: list[bool] = []
        self._row: list[int] = []
        self._column: list[int] = []
        self._value: list[float] = []
        self._least: list[float] = []
        self._matrix: csr_array | None = None
        self.member = {i: self.variable(whole=True) for i in members(domain)}
        self._convex()
        self._traffic()

    def variable(self, cost_bytes: float = 0.0, upper: float = 1.0, whole: bool = False) -> int:
        """A new variable of 0 .. ``upper``, which adds ``cost_bytes`` times itself to what the group moves."""
        self._cost.append(cost_bytes / _KIB)
        self._upper.append(upper)
        self._whole.append(whole)
        return len(self._cost) - 1

    def at_least(self, terms: Iterable[Term], least: float) -> None:
        """The inequality sum(value * variable) >= least."""
        number = len(self._least)
        for variable, value in terms:
            self._row.append(number)
            self._column.append(variable)
            self._value.append(value)
        self._least.append(least)
        self._matrix = None

    def at_most_if(self, way: int, terms: Sequence[Term], most: float) -> None:
        """sum(value * variable) <= most if the variable ``way`` is 1. Values must not be negative."""
        whole = sum(value * self._upper[variable] for variable, value in terms)
        if whole > most:
            # sum <= most + (whole - most) * (1 - way)
            self.at_least([*((variable, -value) for variable, value in terms), (way, most - whole)], -whole)

    def require(self, requirement: Requirement) -> None:
        """The group executes in one of the ways of ``requirement``."""
        self.at_least([(way, 1.0) for way in requirement.ways(self)], 1)

    def best(self, prices: Sequence[int], node_limit: int, time_limit_seconds: float | None) -> BestGroup:
        """What a group gains at most: the prices of its operators less its weights and the tensors that it moves.

        Deterministic unless ``time_limit_seconds`` ends it; a limit makes the figure weaker, never wrong.
        """
        weight_bytes = self.problem.oracle.sizes.weight_bytes
        cost = np.array(self._cost)
        lower = np.zeros(len(cost))
        for i, variable in self.member.items():
            cost[variable] = (weight_bytes[i] - prices[i]) / _KIB
        lower[self.member[self.root]] = 1
        if self._matrix is None:
            shape = (len(self._least), len(cost))
            self._matrix = csr_array((self._value, (self._row, self._column)), shape=shape)
        options: dict[str, float] = {"node_limit": node_limit, "mip_rel_gap": 0}
        if time_limit_seconds is not None:
            options["time_limit"] = max(0.05, time_limit_seconds)
        with captured_stdout():  # HiGHS reports some of its own trouble there, which is none of ours
            found = milp(
                cost,
                constraints=LinearConstraint(self._matrix, np.array(self._least), inf),
                integrality=np.array(self._whole),
                bounds=Bounds(lower, np.array(self._upper)),
                options=options,
            )
        if found.status == _INFEASIBLE:
            return BestGroup(None, 0)
        # A group costs nothing below its weights, so without any bound of the solver this one holds.
        gain = sum(max(0, prices[i] - weight_bytes[i]) for i in self.member if i != self.root)
        gain += prices[self.root] - weight_bytes[self.root]
        if found.mip_dual_bound is not None and found.mip_dual_bound > -inf:
            # Gains are whole bytes.
            gain = min(gain, floor(-found.mip_dual_bound * _KIB + 0.5))
        mask = 0
        if found.x is not None:
            mask = sum(1 << i for i, variable in self.member.items() if found.x[variable] > 0.5)
        return BestGroup(gain, mask)

    def connect(self, mask: int) -> None:
        """Forbid what makes ``mask`` unconnected: who is apart from the root needs an operator in between."""
        graph = self.problem.graph
        ours = graph.component(mask, 1 << self.root)
        border = _around(graph.neighbour_masks, ours) & self.domain & ~ours
        far = self.domain & ~ours & ~border
        for part in graph.components(mask & ~ours):
            beyond = reachable(graph.neighbour_masks, far, part)
            between = _around(graph.neighbour_masks, beyond) & border
            for i in members(part):
                self.at_least([*((self.member[k], 1.0) for k in members(between)), (self.member[i], -1.0)], 0)

    def exclude(self, mask: int) -> None:
        """Forbid exactly this group."""
        terms = [(variable, -1.0 if mask >> i & 1 else 1.0) for i, variable in self.member.items()]
        self.at_least(terms, 1 - mask.bit_count())

    def _convex(self) -> None:
        graph, member = self.problem.graph, self.member
        above = below = 0
        for i in member:
            above |= graph.ancestor_masks[i]
            below |= graph.descendant_masks[i]
        region = self.domain | above & below
        # 1 where the operator or one above it (below it) is a member.
        after = {i: self.variable() for i in members(region)}
        before = {i: self.variable() for i in members(region)}
        for i in members(region):
            between = [(after[i], -1.0), (before[i], -1.0)]
            if i in member:
                between.append((member[i], 1.0))
                self.at_least([(after[i], 1.0), (member[i], -1.0)], 0)
                self.at_least([(before[i], 1.0), (member[i], -1.0)], 0)
                neighbours = members(graph.neighbour_masks[i] & self.domain)
                self.at_least([*((member[k], 1.0) for k in neighbours), (member[i], -1.0)], 0)
            self.at_least(between, -1)
            for p in members(graph.predecessor_masks[i] & region):
                self.at_least([(after[i], 1.0), (after[p], -1.0)], 0)
                self.at_least([(before[p], 1.0), (before[i], -1.0)], 0)

    def _traffic(self) -> None:
        graph, member = self.problem.graph, self.member
        tensor_bytes = self.problem.oracle.sizes.tensor_bytes
        touched = {t for i in member for t in (i, *graph.operators[i].inputs)}
        for t in sorted(touched):
            readers = sorted(set(graph.consumers[t]))
            inside = [c for c in readers if c in member]
            made = [(member[t], 1.0)] if t in member else []
            if inside:
                read = self.variable(tensor_bytes[t])
                for c in inside:
                    self.at_least([(read, 1.0), (member[c], -1.0), *made], 0)
            final = t >= 0 and graph.output_mask >> t & 1
            if made and (readers or final):
                written = self.variable(tensor_bytes[t])
                if final or len(inside) < len(readers):
                    self.at_least([(written, 1.0), (member[t], -1.0)], 0)
                else:
                    for c in inside:
                        self.at_least([(written, 1.0), (member[t], -1.0), (member[c], 1.0)], 0)


def _around(neighbours: Sequence[int], mask: int) -> int:
    found = 0
    for i in members(mask):
        found |= neighbours[i]
    return found
