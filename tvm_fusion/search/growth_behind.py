"""GrowthBehind: groups that grow behind a bottleneck (:mod:`tvm_fusion.search.oracle_behind`)."""

from __future__ import annotations

from tvm_fusion.search.group_growth import GroupGrowth, Grown
from tvm_fusion.search.oracle_behind import OracleBehind


class GrowthBehind(GroupGrowth):
    """Grows groups behind a bottleneck; those without the source as ``base`` grows them in the whole network."""

    def __init__(self, base: GroupGrowth, oracle: OracleBehind) -> None:
        self.base, self.behind, self.p = base, oracle, oracle.p
        self.others, self.empty, self.lbdf = base.others, base.empty, base.lbdf
        self.checks = 0
        self.objective, self.buffer_bytes = base.objective, base.buffer_bytes
        bound = base.bound
        row_bytes = 0 if bound.in_place_consumer(self.p) >= 0 else bound.row_bytes[self.p]
        self._source = self.empty._replace(mask=1, needed=row_bytes, moved=bound.tensor_bytes[self.p])

    def extended(self, group: Grown, i: int) -> Grown:
        """See :class:`GroupGrowth`."""
        if not i:
            return self._source
        grown = self.base.extended(group._replace(mask=group.mask << self.p), i + self.p)
        return grown._replace(mask=grown.mask >> self.p)

    def checked(self, group: Grown) -> Grown:
        """See :class:`GroupGrowth`; what a group with the source moves beyond the least is not counted."""
        mask, alive = group.mask, group.alive
        if not mask & 1:
            found = self.base.checked(group._replace(mask=mask << self.p))
            return found._replace(mask=mask)
        for k, (name, _) in enumerate(self.others, self.lbdf):
            if alive >> k & 1 and not self.behind.may_grow(name, mask):
                alive ^= 1 << k
        return group._replace(alive=alive)
