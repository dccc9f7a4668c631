"""ChannelSearch: the phases of a group that move least among those that fit.

Every phase takes the next operators of the group in topological order, so that the phases are a path through states.
The bytes that a path adds to the compulsory ones are the weights and streamed inputs of what it executes again. The
cheapest path is found by depth-first search over states, remembered for all groups. Where the order of the operators
leaves no choice (a chain) it is the best assignment there is; elsewhere other orders could do better.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.cost_models.channel_steps import State, Step, Steps
from tvm_fusion.graph.graph import members

_NEVER = 1 << 62


class ChannelSearch:
    """Assignments of groups of one graph for one buffer."""

    def __init__(self, needs: PhaseNeeds, buffer_bytes: int, recompute: bool = True) -> None:
        self.needs = needs
        self.steps = Steps(needs, buffer_bytes, recompute)
        self._best: dict[State, tuple[int, Step | None]] = {State(0): (0, None)}

    def extra_bytes(self, mask: int) -> int | None:
        """DRAM bytes beyond the compulsory ones; None if nothing fits."""
        found = self._solve(State(mask))[0]
        return None if found >= _NEVER else found

    def assignment(self, mask: int) -> ChannelAssignment | None:
        """The assignment of which :meth:`extra_bytes` has the bytes."""
        if self.extra_bytes(mask) is None:
            return None
        state, phases, resident = State(mask), [], 0
        while state.left:
            step = self._best[state][1]
            assert step is not None
            phases.append(tuple(members(step.executed)))
            resident |= step.resident
            state = step.after
        shift = self.needs.facts.shift
        return ChannelAssignment(tuple(phases), tuple(bit - shift for bit in members(resident)))

    def _solve(self, start: State) -> tuple[int, Step | None]:
        best = self._best
        stack = [] if start in best else [_Visit(start, self.steps.after(start))]
        while stack:
            visit = stack[-1]
            step = visit.step or visit.following()
            if step is None or step.extra_bytes >= visit.least:
                best[visit.state] = visit.least, visit.taken
                stack.pop()
                continue
            known = best.get(step.after)
            if known is None:
                visit.step = step
                stack.append(_Visit(step.after, self.steps.after(step.after)))
                continue
            visit.step = None
            if step.extra_bytes + known[0] < visit.least:
                visit.least, visit.taken = step.extra_bytes + known[0], step
        return best[start]


@dataclass(slots=True)
class _Visit:
    """A state on the way: the step that is being tried, and the best of those before."""

    state: State
    steps: Iterator[Step]
    dear: list[Step] = field(default_factory=list)
    sorted: bool = False
    step: Step | None = None
    least: int = _NEVER
    taken: Step | None = None

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
