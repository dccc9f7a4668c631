"""SharedSteps: steps that are made once for all states that have the same operators near, whatever else is left."""

from __future__ import annotations

from collections.abc import Iterator

from tvm_fusion.cost_models.channel_steps import State, Step, Steps
from tvm_fusion.graph.graph import members

_NEAR = 16  # operators; more where a phase can have as many


class SharedSteps:
    """What :class:`Steps` makes, remembered.

    The steps from a state depend on the operators that come next, as many as a phase can take, and on who reads their
    operands, their results and what is at hand. What else is left to do is only passed on.
    """

    def __init__(self, steps: Steps) -> None:
        self.steps, facts = steps, steps.facts
        self._facts, self._shift = facts, facts.shift
        # By operator: who reads what it reads and makes.
        self._around = []
        for i, op in enumerate(facts.operators):
            readers = facts.reader_masks[i + facts.shift]
            for read in op.reads:
                readers |= facts.reader_masks[read.operand + facts.shift]
            self._around.append(readers)
        self._made: dict[State, _Steps | None] = {}  # None: the next operators are too few

    def after(self, state: State) -> Iterator[Step]:
        """All steps, the longest first."""
        count, width = state.left.bit_count(), _NEAR
        while True:
            near = state._replace(left=self._near(state, width)) if width < count else state
            if near not in self._made:
                enough = width >= count or len(self.steps.growth(near, width)) < width
                self._made[near] = _Steps(self.steps.after(near)) if enough else None
            found = self._made[near]
            if found is not None:
                break
            width *= 2
        for step in found:
            yield step._replace(after=step.after._replace(left=state.left & ~step.executed))

    def _near(self, state: State, width: int) -> int:
        """The next ``width`` operators that are left, and those that read anything that these touch."""
        facts, left = self._facts, state.left
        window = readers = 0
        for _ in range(width):
            low = left & -left
            left ^= low
            window |= low
            readers |= self._around[low.bit_length() - 1]
        for bit in members(state.held | state.again << self._shift | state.passed):
            readers |= facts.reader_masks[bit]
        return state.left & (window | readers)


class _Steps:
    """Steps that are made as they are asked for, once."""

    def __init__(self, source: Iterator[Step]) -> None:
        self._source, self._known = source, list[Step]()

    def __iter__(self) -> Iterator[Step]:
        position = 0
        while True:
            if position == len(self._known):
                step = next(self._source, None)
                if step is None:
                    return
                self._known.append(step)
            yield self._known[position]
            position += 1
