"""Recombination: where two partitions can be exchanged piece by piece."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from tvm_fusion.graph.graph import members
from tvm_fusion.search.problem import FusionProblem, Partition


@dataclass(frozen=True, slots=True)
class Block:
    """A part of the graph that both partitions cut into whole groups: theirs and ours."""

    ours: tuple[int, ...]
    theirs: tuple[int, ...]


def common_blocks(problem: FusionProblem, ours: Partition, theirs: Partition) -> list[Block]:
    """The smallest blocks such that either partition's groups may be taken in each, independently.

    Overlapping groups belong to one block; blocks on a cycle are united. Then a cycle among the chosen
    groups would lie within one block, where all of them come from one acyclic partition: there is none.
    """
    owner = problem.owners(theirs)
    blocks: list[int] = []
    for mask in ours:
        block = mask
        for k in {owner[i]: None for i in members(mask)}:
            block |= theirs[k]
        blocks = _united(blocks, block)
    while problem.ordered(blocks) is None:
        blocks = _without_cycles(problem, blocks)
    return [
        Block(tuple(m for m in ours if m & block), tuple(m for m in theirs if m & block)) for block in sorted(blocks)
    ]


def recombine(blocks: list[Block], take_theirs: Callable[[Block], bool]) -> list[int]:
    """The groups of a new partition, with ``take_theirs`` deciding for each block."""
    return [mask for block in blocks for mask in (block.theirs if take_theirs(block) else block.ours)]


def _united(blocks: list[int], block: int) -> list[int]:
    apart = []
    for other in blocks:
        if other & block:
            block |= other
        else:
            apart.append(other)
    return [*apart, block]


def _without_cycles(problem: FusionProblem, blocks: list[int]) -> list[int]:
    """Blocks that reach each other, united (they may overlap no more than before)."""
    below = []
    for block in blocks:
        reached = block
        frontier = block
        while frontier:
            read = problem.readers(frontier) & ~reached
            frontier = sum(other for other in blocks if other & read)
            frontier &= ~reached
            reached |= frontier
        below.append(reached)
    found: list[int] = []
    for block, reached in zip(blocks, below, strict=True):
        united = sum(o for o, back in zip(blocks, below, strict=True) if o & reached and back & block)
        if united not in found:
            found.append(united)
    return found
