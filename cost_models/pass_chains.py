"""Chains of a group: accumulating operators and what follows them in one row, up to the scales that leave it.

A *head* is an operator of one row that adds up the rows of an operand of more. The *chain* of some heads in a group
is those heads and all that the group reaches from them through operators of one row.
"""

from __future__ import annotations

from tvm_fusion.graph.graph import OperatorGraph, mask_of, members, reachable


class Chains:
    """Where the groups of one graph may be split into passes.

    ``one_row``: operators whose result is one row. ``heads``: see above. ``scales``: tensors that can be a scale in
    some group; all that is in a chain and not among them is read in the pass that makes it, and nowhere else.
    """

    def __init__(self, graph: OperatorGraph) -> None:
        self.graph = graph
        self.one_row = mask_of(op.id for op in graph.operators if op.height == 1)
        self.heads = mask_of(op.id for op in graph.operators if self.one_row >> op.id & 1 and self._adds_up(op.id))
        chains = self.members(self.one_row, self.heads)
        self.scales = mask_of(i for i in members(chains) if self._may_wait(i))

    def members(self, mask: int, heads: int) -> int:
        """The chain (a mask) of ``heads`` in group ``mask``."""
        return reachable(self.graph.successor_masks, mask & self.one_row, heads)

    def units(self, mask: int) -> list[int]:
        """Heads of the group, those that share a part of a chain together, if operators of more rows read the chain."""
        found: list[tuple[int, int]] = []  # heads, chain
        for head in members(mask & self.heads):
            heads, chain = 1 << head, self.members(mask, 1 << head)
            for other in [unit for unit in found if unit[1] & chain]:
                found.remove(other)
                heads |= other[0]
                chain |= other[1]
            found.append((heads, chain))
        return sorted(heads for heads, chain in found if self.readers(chain) & mask & ~self.one_row)

    def readers(self, mask: int) -> int:
        """Operators that read a result of ``mask``."""
        found = 0
        for i in members(mask):
            found |= self.graph.successor_masks[i]
        return found

    def _adds_up(self, i: int) -> bool:
        op = self.graph.operators[i]
        pairs = zip(op.inputs, op.demands, strict=True)
        return any(demand.kind == "accumulate" and self.graph.tensor(t).height > 1 for t, demand in pairs)

    def _may_wait(self, i: int) -> bool:
        """Whether a reader may be in a later pass: not if it is of one row, and has nothing else to wait for."""
        readers = (self.graph.operators[c] for c in self.graph.consumers[i])
        return any(reader.height > 1 or len(reader.inputs) > 1 for reader in readers)
