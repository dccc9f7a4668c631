"""What one phase of channel streaming holds on chip beside the resident tensors, and which of these share memory."""

from __future__ import annotations

from tvm_fusion.cost_models.channel_facts import ChannelFacts
from tvm_fusion.graph.graph import members


class PhaseNeeds:
    """Bytes of phases of one graph, remembered."""

    def __init__(self, facts: ChannelFacts) -> None:
        self.facts = facts
        self._own: dict[tuple[int, int, int, int], int] = {}
        self._shared: dict[tuple[int, int, int], int] = {}
        self._takers: dict[tuple[int, int, int], int] = {}

    def own_bytes(self, executed: int, summing: int, resident: int, streamed_inputs: int) -> int:
        """One channel of every stream that is not in place, and one channel's weights of every operator.

        ``executed``, ``summing`` (those that accumulate) and ``resident`` (results that are held whole) are masks of
        operators, ``streamed_inputs`` of tensors.
        """
        key = (executed, summing, resident & executed, streamed_inputs)
        found = self._own.get(key)
        if found is None:
            found = self._own[key] = self._own_bytes(*key)
        return found

    def _own_bytes(self, executed: int, summing: int, resident: int, streamed_inputs: int) -> int:
        facts, channel_bytes = self.facts, self.facts.channel_bytes
        total = sum(channel_bytes[t - facts.shift] for t in members(streamed_inputs))
        for i in members(executed):
            op = facts.operators[i]
            total += op.sum_part_bytes if summing >> i & 1 else op.part_bytes
        return total + sum(count * channel_bytes[i] for i, count in self.channels(executed, resident).items())

    def channels(self, executed: int, resident: int) -> dict[int, int]:
        """1 for every streamed result that has a channel of its own, 0 for those in place."""
        found: dict[int, int] = {}
        merged: dict[int, int] = {}
        for i in members(executed & ~resident):
            reader = self.facts.operators[i].in_place_for
            if reader < 0 or not executed >> reader & 1:
                found[i] = 1
            elif merged.get(i, 0) >= 2 and self.facts.operators[reader].reads[0].operand != i:
                found[i] = 1  # what merges two in-place streams has a channel, unless it comes first
            else:
                found[i] = 0
                merged[reader] = merged.get(reader, 0) + 1
        return found

    def shared_bytes(self, executed: int, landing: int, dying: int) -> int:
        """Bytes of resident tensors of which a pointwise result takes the memory.

        ``landing``: operators whose result becomes resident channel by channel; ``dying``: tensors that are complete,
        or land in this phase, and that nothing reads after it. The reader that comes last takes the memory, if the
        others are through with an element by then: pointwise, and in place for nobody else, who might come later still.
        """
        key = (executed, landing, dying)
        found = self._shared.get(key)
        if found is None:
            found = self._shared[key] = sum(self.facts.bytes_by_bit[bit] for _, bit in self.taken(*key))
        return found

    def takers(self, executed: int, candidates: int, dying: int) -> int:
        """Those of the ``candidates`` that can take the memory of a dying tensor, if they become resident for it.

        They need nothing then, and the next one may take theirs.
        """
        key = (executed, candidates, dying)
        found = self._takers.get(key)
        if found is None:
            found = 0
            for i in members(candidates):
                if self.taken(executed, 1 << i, dying):
                    found |= 1 << i
                    dying |= 1 << i + self.facts.shift
            self._takers[key] = found
        return found

    def taken(self, executed: int, landing: int, dying: int) -> list[tuple[int, int]]:
        """(operator, bit of the tensor of which its result takes the memory)."""
        facts, found = self.facts, []
        for i in members(landing & executed):
            op = facts.operators[i]
            if not op.pointwise:
                continue
            for read in op.reads:
                if not (read.same_size and read.bit & dying):
                    continue
                others = facts.reader_masks[read.operand + facts.shift] & executed & ~(1 << i)
                if not others >> i and all(self._elementwise(c, i, read.bit) for c in members(others)):
                    found.append((i, read.operand + facts.shift))
                    break
        return found

    def _elementwise(self, i: int, taker: int, bit: int) -> bool:
        op = self.facts.operators[i]
        in_step = op.pointwise and all(read.by_channel for read in op.reads if read.bit == bit)
        return in_step and op.in_place_for in (-1, taker)
