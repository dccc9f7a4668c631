"""divide: the passes of a group whose chains are split off.

The *level* of an operator is the number of scales that it needs one after another: that of its operands, and one more
where an operator of several rows reads a member of a chain. The members of chains with level l are made in pass l + 1.
Those that an operator of a higher level reads are *scales*, and stay on chip until the last pass that reads them. Pass
l + 1 executes what its scales need, with earlier scales at hand. Chains of the same level share a pass.

Every result (a tensor needed outside, or that nothing in the group reads) is made whole in one pass: a member of a
chain in its own, another one in the first pass that executes it for a scale, or else in the last.
"""

from __future__ import annotations

from typing import NamedTuple

from tvm_fusion.cost_models.pass_chains import Chains
from tvm_fusion.graph.graph import members, reachable


class Pass(NamedTuple):
    """Masks: operators ``executed``, ``results`` made whole, and earlier scales ``held`` though only later passes
    read them."""

    executed: int
    results: int
    held: int


def divide(chains: Chains, mask: int, heads: int) -> list[Pass]:
    """The passes of group ``mask`` if the chain of ``heads`` is split off; a single one if it has no scale."""
    graph = chains.graph
    successors, predecessors = graph.successor_masks, graph.predecessor_masks
    chain = chains.members(mask, heads)
    left = _results(chains, mask)
    made: list[int] = []  # scales of each pass
    at_hand = 0
    found: list[tuple[int, int]] = []
    level = mask  # what has this level, or a higher one
    while True:
        readers = chains.readers(chain & level) & mask & ~chains.one_row
        higher = reachable(successors, mask, readers) if readers else 0
        here = chain & level & ~higher
        scales = _that_read_by(successors, here, higher)
        wanted = scales | here & left if higher else left
        executed = reachable(predecessors, mask & ~at_hand, wanted)
        found.append((executed, executed & left))
        if not higher:
            break
        left &= ~executed
        made.append(scales)
        at_hand |= scales
        level = higher
    passes: list[Pass] = []
    needed = 0  # scales that this pass or a later one reads
    for k in reversed(range(len(found))):
        executed, results = found[k]
        earlier = sum(made[:k])
        read = _that_read_by(successors, earlier, executed)
        passes.append(Pass(executed, results, needed & earlier & ~read))
        needed |= read
    return passes[::-1]


def _results(chains: Chains, mask: int) -> int:
    successors, found = chains.graph.successor_masks, 0
    for i in members(mask):
        if not successors[i] & mask or successors[i] & ~mask:
            found |= 1 << i
    return found | mask & chains.graph.output_mask


def _that_read_by(successors: tuple[int, ...], tensors: int, readers: int) -> int:
    """Those of ``tensors`` that one of ``readers`` reads."""
    found = 0
    for i in members(tensors):
        if successors[i] & readers:
            found |= 1 << i
    return found
