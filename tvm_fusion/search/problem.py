"""FusionProblem: what a search may ask of a graph and its oracle; partitions are tuples of masks."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.errors import SearchError
from tvm_fusion.graph.graph import OperatorGraph, members
from tvm_fusion.graph.plan import group_order

Partition = tuple[int, ...]


class FusionProblem:
    """Minimise the oracle's objective over acyclic partitions of ``graph`` into connected, valid groups.

    A partition is a tuple of disjoint masks in an order in which they can execute.
    """

    def __init__(self, graph: OperatorGraph, oracle: Oracle) -> None:
        if oracle.graph is not graph and oracle.graph.fingerprint != graph.fingerprint:
            raise SearchError(f"the oracle is for network {oracle.graph.name!r}, not for {graph.name!r}")
        self.graph = graph
        self.oracle = oracle
        self.size = len(graph)
        self.everything = (1 << self.size) - 1
        self.buffer_bytes = oracle.accelerator.buffer_bytes

    @property
    def unfused(self) -> Partition:
        """Every operator alone: always valid."""
        return tuple(1 << i for i in range(self.size))

    def valid(self, mask: int) -> bool:
        """Whether a group fits the buffer (one operator always executes, layer by layer if need be)."""
        return self.oracle.evaluate(mask)[0]

    def group_value(self, mask: int) -> int:
        """The objective's value of a group: DRAM bytes by default."""
        return self.oracle.evaluate(mask)[1]

    def excess_bytes(self, mask: int) -> int:
        """Bytes by which a group exceeds the buffer, as far as the oracle had to know; 0 if it is valid."""
        valid, _, needed = self.oracle.evaluate(mask)
        return 0 if valid else needed - self.buffer_bytes

    def plan_value(self, partition: Iterable[int]) -> int:
        """The objective's value of the whole network under a partition."""
        evaluate = self.oracle.evaluate
        return sum(evaluate(mask)[1] for mask in partition)

    def ordered(self, masks: Iterable[int]) -> Partition | None:
        """The groups in execution order (lowest operator first among the ready ones), or None for a cycle."""
        masks = list(masks)
        order = group_order(self.graph, masks)
        return None if order is None else tuple(masks[k] for k in order)

    def ordered_subset(self, masks: Iterable[int]) -> Partition | None:
        """:meth:`ordered` of groups that need not cover the graph."""
        masks = list(masks)
        rest = self.everything & ~sum(masks)
        ordered = self.ordered([*masks, *(1 << i for i in members(rest))])
        return None if ordered is None else tuple(mask for mask in ordered if not mask & rest)

    def readers(self, mask: int) -> int:
        """Operators outside ``mask`` that read a result of it."""
        found = 0
        for i in members(mask):
            found |= self.graph.successor_masks[i]
        return found & ~mask

    def sources(self, mask: int) -> int:
        """Operators outside ``mask`` whose result it reads."""
        found = 0
        for i in members(mask):
            found |= self.graph.predecessor_masks[i]
        return found & ~mask

    def owners(self, partition: Partition) -> list[int]:
        """Position of the group of each operator."""
        owner = [0] * self.size
        for k, mask in enumerate(partition):
            for i in members(mask):
                owner[i] = k
        return owner

    def random_order(self, mask: int, rng: np.random.Generator, depth_first: float = 0.5) -> list[int]:
        """A random topological order of the operators of ``mask``; every order has a chance.

        With probability ``depth_first`` the next operator is the ready one that became ready last, so
        that branches tend to stay together.
        """
        predecessors, successors = self.graph.predecessor_masks, self.graph.successor_masks
        ready = [i for i in members(mask) if not predecessors[i] & mask]
        left = mask
        order = []
        while ready:
            k = len(ready) - 1
            if k and rng.random() >= depth_first:
                k = int(rng.integers(k + 1))
            i = ready.pop(k)
            order.append(i)
            left ^= 1 << i
            ready += [c for c in members(successors[i] & mask) if not predecessors[c] & left]
        return order
