"""GrowthBehind: groups that grow behind a bottleneck (:mod:`tvm_fusion.search.oracle_behind`)."""

from __future__ import annotations

from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.search.group_growth import GroupGrowth, Grown
from tvm_fusion.search.oracle_behind import OracleBehind


class GrowthBehind(GroupGrowth):
    """Grows groups behind a bottleneck; those without the source as ``base`` grows them in the whole network."""

    def __init__(self, base: GroupGrowth, oracle: OracleBehind) -> None:
        self.base, self.behind, self.oracle, self.p = base, oracle, oracle, oracle.p
        self.others, self.empty, self.lbdf = base.others, base.empty, base.lbdf
        self.objective, self.buffer_bytes = base.objective, base.buffer_bytes
        self.checks = 0
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
        """See :class:`GroupGrowth`."""
        if group.mask & 1:
            return super().checked(group)
        return self.base.checked(group._replace(mask=group.mask << self.p))._replace(mask=group.mask)

    def _extra(self, name: str, scheme: Scheme, group: Grown) -> int | None:  # noqa: ARG002
        """What a group with the source moves beyond the least is not counted."""
        return 0 if self.behind.may_grow(name, group.mask) else None
