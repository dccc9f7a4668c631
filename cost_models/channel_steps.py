"""Steps: the phases that can come next when a part of a group has been executed.

A state says what is left to do and what is at hand. It does not say which group it belongs to: groups that end alike
share their states, whichever operators they begin with.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations
from typing import NamedTuple

from tvm_fusion.cost_models.channel_facts import OperatorFacts, Reading
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.graph.graph import members

_MOST_CHOICES = 64  # of what to hold at the end of a phase
_MOST_STREAMS_AGAIN = 3  # tensors that later operators read and that are to be made again for them
_MOST_FREE_INPUTS = 2  # of an operator, of which every subset is tried
_MOST_PARTIALS = 16  # ways to take the same operators into a phase


class State(NamedTuple):
    """``left``: operators to be executed still; ``held``: resident tensors that something reads later; ``again``:
    operators whose streamed result something reads later, and all that must be executed again for it; ``passed``:
    group inputs that have been streamed and will be again. Any other tensor that is read is an input not yet read."""

    left: int
    held: int = 0
    again: int = 0
    passed: int = 0


class Step(NamedTuple):
    """A phase: bytes that move beyond the compulsory ones, the state after it, and what it is.

    What will have to be executed again is paid for in the phase after which it is, for the first time.
    """

    extra_bytes: int
    after: State
    executed: int
    resident: int  # tensors that become resident
    buffer_bytes: int
    recomputed_macs: int


class _Partial(NamedTuple):
    """A phase as far as it has grown. Masks of operators: new, executed again, summing, complete only at the end; of
    tensors: inputs that are loaded whole, or streamed. ``floor_bytes``: what it needs at least beside what was held."""

    new: int = 0
    again: int = 0
    summing: int = 0
    sealed: int = 0
    loaded: int = 0
    streamed: int = 0
    floor_bytes: int = 0


class Steps:
    """Makes the steps from a state that fit ``buffer_bytes``."""

    def __init__(self, needs: PhaseNeeds, buffer_bytes: int, recompute: bool) -> None:
        self.needs, self.facts = needs, needs.facts
        self.buffer_bytes, self.recompute = buffer_bytes, recompute
        self._shift = self.facts.shift

    def after(self, state: State) -> Iterator[Step]:
        """All steps, the longest first."""
        held_bytes = self.facts.held_bytes(state.held)
        for partials in reversed(self.growth(state)):
            for partial in partials:
                yield from self._ends(partial, state, held_bytes)

    def growth(self, state: State, most: int | None = None) -> list[list[_Partial]]:
        """The phases of the first operator that is left, of the first two, and so on, up to ``most``."""
        held_bytes = self.facts.held_bytes(state.held)
        partials = [_Partial()]
        grown: list[list[_Partial]] = []
        for i in members(state.left):
            op = self.facts.operators[i]
            if len(grown) == most or (op.kind == "whole" and grown):
                break
            partials = [
                longer
                for partial in partials
                for longer in self._join(partial, i, op, state)
                if held_bytes + longer.floor_bytes <= self.buffer_bytes
            ][:_MOST_PARTIALS]
            if not partials:
                break
            grown.append(partials)
            if op.kind == "whole":
                break
        return grown

    def _join(self, partial: _Partial, i: int, op: OperatorFacts, state: State) -> list[_Partial]:
        """The phase with operator ``i`` too: once for each way in which it can read inputs not yet read."""
        facts, p, streams, fresh = self.facts, partial, 0, []
        for read in op.reads:
            bit, t = read.bit, read.operand
            if bit & (state.held | p.loaded):
                continue
            made = t >= 0 and p.new >> t & 1
            again = t >= 0 and state.again >> t & 1
            if not (made or again or bit & (p.streamed | state.passed)):
                fresh.append(read)
                continue
            if not read.by_channel or (made and p.sealed >> t & 1):
                return []
            streams += 1
            if again:
                p = self._with_again(p, t, state)
            elif not made:
                p = p._replace(streamed=p.streamed | bit)
        found = []
        for loaded in self._loads(fresh, state.left & ~(p.new | 1 << i)):
            passing = sum(read.bit for read in fresh) & ~loaded
            whole = facts.held_bytes(loaded)
            way = p._replace(loaded=p.loaded | loaded, streamed=p.streamed | passing, floor_bytes=p.floor_bytes + whole)
            found.append(self._with_result(way, i, op, streams + passing.bit_count(), 1 << i + self._shift))
        return found

    def _loads(self, fresh: list[Reading], left: int) -> list[int]:
        """Which of the inputs to load whole, as masks: any, or of many all, none, or those that are read again."""
        facts = self.facts
        must = sum(read.bit for read in fresh if not read.by_channel or read.bit & facts.one_row)
        free = [read.bit for read in fresh if not read.bit & must]
        if len(free) <= _MOST_FREE_INPUTS:
            return [must + sum(chosen) for k in range(len(free) + 1) for chosen in combinations(free, k)]
        later = [bit for bit in free if facts.reader_masks[bit.bit_length() - 1] & left]
        return list(dict.fromkeys((must, must + sum(later), must + sum(free))))

    def _with_result(self, p: _Partial, i: int, op: OperatorFacts, streams: int, bit: int) -> _Partial:
        facts = self.facts
        sums = op.kind == "mix" and streams > 0
        ends = sums or op.joins or op.kind == "whole" or (op.kind == "move" and streams > 0)
        floor = op.sum_part_bytes if sums else op.part_bytes
        if sums:
            floor += facts.sum_bytes[i]
        elif ends or (bit & facts.one_row and not op.pointwise):
            floor += facts.image_bytes[i]
        return p._replace(
            new=p.new | 1 << i,
            summing=p.summing | sums << i,
            sealed=p.sealed | ends << i,
            floor_bytes=p.floor_bytes + floor,
        )

    def _with_again(self, p: _Partial, t: int, state: State) -> _Partial:
        """With operator ``t`` executed again, and what it reads if that is not held."""
        again, streamed, floor = p.again, p.streamed, p.floor_bytes
        waiting = [t]
        while waiting:
            i = waiting.pop()
            if again >> i & 1:
                continue
            again |= 1 << i
            op = self.facts.operators[i]
            floor += op.part_bytes
            for read in op.reads:
                if read.bit & state.held:
                    continue
                if read.operand >= 0 and state.again >> read.operand & 1:
                    waiting.append(read.operand)
                else:
                    streamed |= read.bit
        return p._replace(again=again, streamed=streamed, floor_bytes=floor)

    def _ends(self, p: _Partial, state: State, held_bytes: int) -> Iterator[Step]:
        """The steps that end here, one for each choice of what is held from now on."""
        facts, needs, shift = self.facts, self.needs, self._shift
        left = state.left & ~p.new
        executed = p.new | p.again
        forced = p.new & (p.sealed | facts.one_row >> shift)
        at_hand = state.held | p.loaded | forced << shift
        due = self._due_bytes(p.again, p.streamed & state.passed) - self._due_bytes(state.again, state.passed)
        operators = facts.graph.operators
        macs = sum(operators[i].macs * operators[i].batch for i in members(p.again)) if p.again else 0
        known = members(at_hand | (p.new | state.again) << shift | state.passed | p.streamed)
        crossing = [bit - shift for bit in known if facts.reader_masks[bit] & left]
        held_bytes += facts.held_bytes(p.loaded)
        for chosen, held, again, passed in self._choices(crossing, p, state, left, at_hand, held_bytes):
            resident = forced | chosen
            dying = (at_hand | chosen << shift) & ~(held | (p.sealed << shift))
            candidates = p.new & facts.pointwise_mask & ~(resident | again)
            if candidates and dying:
                resident |= needs.takers(executed, candidates, dying)
                dying |= (resident << shift) & ~(held | (p.sealed << shift))
            need = (
                held_bytes
                + sum(facts.sum_bytes[i] if p.summing >> i & 1 else facts.image_bytes[i] for i in members(resident))
                - needs.shared_bytes(executed, resident & ~p.sealed, dying)
                + needs.own_bytes(executed, p.summing, resident, p.streamed)
            )
            if need <= self.buffer_bytes:
                extra = due + self._due_bytes(again, passed)
                after = State(left, held, again, passed)
                yield Step(extra, after, executed, resident << shift | p.loaded, need, macs)

    def _due_bytes(self, again: int, passed: int) -> int:
        """DRAM bytes of executing operators and reading inputs once more."""
        if not again | passed:
            return 0
        facts = self.facts
        weights = facts.graph.batch * sum(facts.operators[i].weight_bytes for i in members(again))
        return weights + sum(facts.sizes.tensor_bytes[bit - self._shift] for bit in members(passed))

    def _choices(
        self, crossing: list[int], p: _Partial, state: State, left: int, at_hand: int, held_bytes: int
    ) -> Iterator[tuple[int, int, int, int]]:
        """(operators whose result is held besides the forced ones, and what of the next state they make)."""
        facts, shift = self.facts, self._shift
        room = self.buffer_bytes - held_bytes
        stack: list[tuple[tuple[int, ...], int, int, int, int]] = [(tuple(crossing), 0, 0, 0, 0)]
        direct = sum(1 << t + shift for t in crossing)
        found = 0
        while stack and found < _MOST_CHOICES:
            todo, chosen, held, again, passed = stack.pop()
            if ((again << shift | passed) & direct).bit_count() > _MOST_STREAMS_AGAIN:
                continue
            if not todo:
                found += 1
                yield chosen, held, again, passed
                continue
            t, rest = todo[-1], todo[:-1]
            bit = 1 << t + shift
            if bit & (at_hand | chosen << shift):
                stack.append((rest, chosen, held | bit, again, passed))
            elif t >= 0 and again >> t & 1:
                stack.append((rest, chosen, held, again, passed))
            elif t >= 0 and (p.new | state.again) >> t & 1:
                must = facts.whole_reader_masks[t + shift] & left
                if self.recompute and not must:
                    sources = tuple(read.operand for read in facts.operators[t].reads)
                    stack.append((rest + sources, chosen, held, again | 1 << t, passed))
                if p.new >> t & 1 and not self._pointless(t, again):
                    free = facts.operators[t].pointwise  # may take the memory of another
                    if free or facts.held_bytes(chosen << shift) + facts.image_bytes[t] <= room:
                        stack.append((rest, chosen | 1 << t, held | bit, again, passed))
            elif bit & (state.passed | p.streamed):
                if self.recompute and not facts.whole_reader_masks[t + shift] & left:
                    stack.append((rest, chosen, held, again, passed | bit))
            else:
                stack.append((rest, chosen, held, again, passed))

    def _pointless(self, t: int, again: int) -> bool:
        """Whether what reads ``t``, a weightless pointwise operator that is executed again, had better be held."""
        reader = self.facts.operators[t].in_place_for
        if reader < 0 or not again >> reader & 1:
            return False
        return self.facts.operators[reader].weight_bytes == 0
