"""What channel streaming needs in every assignment, however a group grows: a bound for searches over groups.

A group grows by operators that nothing in it reads. In whatever group operator w stands, its phase has what w needs by
itself: what mixes channels has its operand whole or its result as sums, what takes its operands whole has them and its
result. A tensor that must be resident, on which w depends and which a descendant of w reads, is on chip then too.
Only pointwise results share memory, and only with what they read, so that all of this adds up.
"""

from __future__ import annotations

from typing import NamedTuple

from tvm_fusion.cost_models.channel_facts import ChannelFacts
from tvm_fusion.graph.graph import mask_of, members


class _Passing(NamedTuple):
    """A tensor that passes an operator: its bit among operators, readers below, readers that make it resident (-1: none
    is needed), bytes."""

    bit: int
    readers: int
    forced_by: int
    image_bytes: int


class ChannelGrowth:
    """Bounds of all groups of one graph."""

    def __init__(self, facts: ChannelFacts) -> None:
        self.facts = facts
        self.alone = [operator_bound_bytes(facts, i) for i in range(len(facts.operators))]
        self._forced = {t: by for t in range(len(facts.operators)) if (by := self._forced_by(t))}
        self._forced_mask = mask_of(self._forced)
        self._passing = [self._passing_by(i) for i in range(len(facts.operators))]
        # By operator: those that a tensor passes for it, or which is resident because of it.
        self._passed_before = [0] * len(facts.operators)
        for i, passing in enumerate(self._passing):
            for t in passing:
                for reader in members(t.readers | (t.forced_by if t.forced_by > 0 else 0)):
                    self._passed_before[reader] |= 1 << i
        self._known: dict[int, int] = {}

    def bound_bytes(self, mask: int) -> int:
        """Bytes on chip that the group and all that it grows into need at least."""
        found = self._known.get(mask)
        if found is None:
            last = mask.bit_length() - 1
            part = self._known.get(mask ^ 1 << last)
            # Without its last operator, all others need the same but those that a tensor passes on its way to that one.
            changed = members(mask) if part is None else (last, *members(mask & self._passed_before[last]))
            found = self._known[mask] = max(part or 0, *(self._need_bytes(i, mask) for i in changed))
        return found

    def _need_bytes(self, i: int, mask: int) -> int:
        need = self.alone[i]
        for t in self._passing[i]:
            if t.bit & mask and t.readers & mask and t.forced_by & mask:
                need += t.image_bytes
        return need

    def _passing_by(self, i: int) -> tuple[_Passing, ...]:
        facts, graph = self.facts, self.facts.graph
        below = graph.descendant_masks[i]
        operands = {read.operand for read in facts.operators[i].reads}
        found = []
        for t in members(graph.ancestor_masks[i] & self._forced_mask):
            readers = facts.reader_masks[t + facts.shift] & below
            if readers and t not in operands:
                found.append(_Passing(1 << t, readers, self._forced[t], facts.image_bytes[t]))
        return tuple(found)

    def _forced_by(self, t: int) -> int:
        """Readers that make tensor ``t`` resident; -1 if it is without any."""
        op, bit = self.facts.operators[t], t + self.facts.shift
        if op.joins or op.kind == "whole" or self.facts.one_row >> bit & 1:
            return -1
        return self.facts.whole_reader_masks[bit]


def operator_bound_bytes(facts: ChannelFacts, i: int) -> int:
    """Bytes on chip that operator ``i`` needs by itself in every group under every assignment."""
    op, shift = facts.operators[i], facts.shift
    result = facts.image_bytes[i]
    whole = sum(facts.image_bytes[read.operand] for read in op.reads)
    one_row = facts.one_row >> i + shift & 1
    if op.kind == "whole":
        return whole + result + op.part_bytes
    if op.kind == "move":
        # Joined results are held; of others either the operands are, or the result.
        if op.joins:
            return result + op.part_bytes
        return (result if one_row else min(whole, result)) + op.part_bytes
    if op.kind == "mix":
        operand = op.reads[0].operand
        read_whole = whole + one_row * result + op.part_bytes
        one_row_operand = facts.one_row >> operand + shift & 1
        stream = whole if one_row_operand else min(whole, facts.channel_bytes[operand])
        return min(read_whole, facts.sum_bytes[i] + stream + op.sum_part_bytes)
    return op.part_bytes + (result if one_row else 0)
