"""RandomSplit: cut an invalid group at random, again and again, until every part fits."""

from __future__ import annotations

import numpy as np

from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.split import Splitter


class RandomSplit(Splitter):
    """Cuts a random topological order of the group at a random place.

    The head of a topological order is closed under predecessors inside the group, so no part needs a
    later one and the partition stays acyclic.
    """

    def split(self, problem: FusionProblem, mask: int, rng: np.random.Generator) -> list[int]:
        """See :class:`tvm_fusion.search.split.Splitter`."""
        done: list[int] = []
        self.counts.invalid_groups += 1
        self.counts.split_at_random += 1
        waiting = problem.graph.components(mask)[::-1]
        while waiting:
            part = waiting.pop()
            if problem.valid(part):
                done.append(part)
                continue
            order = problem.random_order(part, rng)
            head = sum(1 << i for i in order[: int(rng.integers(1, len(order)))])
            waiting += problem.graph.components(part & ~head)[::-1]
            waiting += problem.graph.components(head)[::-1]
        return done
