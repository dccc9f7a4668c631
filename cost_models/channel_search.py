"""ChannelSearch: the phases of a group that move least among those that fit.

Every phase takes the next operators of the group in topological order, so that the phases are a path through states.
The bytes that a path adds to the compulsory ones are the weights and streamed inputs of what it executes again. The
cheapest path is found by depth-first search over states, remembered for all groups. Where the order of the operators
leaves no choice (a chain) it is the best assignment there is; elsewhere other orders could do better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.cost_models.channel_shared_steps import SharedSteps
from tvm_fusion.cost_models.channel_steps import State, Step, Steps
from tvm_fusion.graph.graph import members

_NEVER = 1 << 62
# Solved for one group at most. What fits in networks of few branches takes some 500; with many branches side by side
# there would be no end. A group of which nothing was found by then is taken for one that does not fit.
_MOST_STATES = 1_000


class Best(NamedTuple):
    """The cheapest way from a state to the end: DRAM bytes beyond the compulsory ones, the step to take (None: nothing
    fits), the most bytes on chip, the arithmetic that is executed again."""

    extra_bytes: int
    step: Step | None
    buffer_bytes: int
    recomputed_macs: int


class ChannelSearch:
    """Assignments of groups of one graph for one buffer."""

    def __init__(self, needs: PhaseNeeds, buffer_bytes: int, recompute: bool = True) -> None:
        self.needs = needs
        self.steps = SharedSteps(Steps(needs, buffer_bytes, recompute))
        self._best: dict[State, Best] = {State(0): Best(0, None, 0, 0)}

    def best(self, mask: int) -> Best | None:
        """The cheapest way to execute a group; None if nothing fits."""
        found = self._solve(State(mask))
        return None if found.step is None else found

    def assignment(self, mask: int) -> ChannelAssignment | None:
        """The assignment of which :meth:`best` has the figures."""
        if self.best(mask) is None:
            return None
        state, phases, resident = State(mask), [], 0
        while state.left:
            step = self._best[state].step
            assert step is not None
            phases.append(tuple(members(step.executed)))
            resident |= step.resident
            state = step.after
        shift = self.needs.facts.shift
        return ChannelAssignment(tuple(phases), tuple(bit - shift for bit in members(resident)))

    def _solve(self, start: State) -> Best:
        best = self._best
        stack = [] if start in best else [_Visit(start, self.steps.after(start))]
        solved = 0
        while stack:
            visit = stack[-1]
            if solved > _MOST_STATES:
                best[start] = stack[0].found
                break
            step = visit.step or visit.following()
            if step is None or step.extra_bytes >= visit.found.extra_bytes:
                best[visit.state] = visit.found
                solved += 1
                stack.pop()
                continue
            known = best.get(step.after)
            if known is None:
                visit.step = step
                stack.append(_Visit(step.after, self.steps.after(step.after)))
                continue
            visit.step = None
            if step.extra_bytes + known.extra_bytes < visit.found.extra_bytes:
                visit.found = Best(
                    step.extra_bytes + known.extra_bytes,
                    step,
                    max(step.buffer_bytes, known.buffer_bytes),
                    step.recomputed_macs + known.recomputed_macs,
                )
        return best[start]


_NOTHING = Best(_NEVER, None, 0, 0)


@dataclass(slots=True)
class _Visit:
    """A state on the way: the step that is being tried, and the best of those before."""

    state: State
    steps: Iterator[Step]
    dear: list[Step] = field(default_factory=list)
    sorted: bool = False
    step: Step | None = None
    found: Best = _NOTHING

    def following(self) -> Step | None:
        """Steps that add nothing as they are found, then the others, the cheapest first: few states need those."""
        for step in self.steps:
            if not step.extra_bytes:
                return step
            self.dear.append(step)
        if not self.sorted:
            self.dear.sort(key=lambda step: step.extra_bytes, reverse=True)
            self.sorted = True
        return self.dear.pop() if self.dear else None
