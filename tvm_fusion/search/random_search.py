"""RandomSearch: new random plans at every step, repaired by the splitter."""

from __future__ import annotations

from collections.abc import Sequence

from tvm_fusion.search.algorithm import Algorithm
from tvm_fusion.search.problem import Partition
from tvm_fusion.search.proposals import random_plans

PLANS_AT_A_TIME = 10


class RandomSearch(Algorithm):
    """Learns nothing from the plans that it proposes."""

    def ask(self, limit: int) -> Sequence[Partition]:
        """Random plans."""
        return random_plans(self, min(limit, PLANS_AT_A_TIME))
