"""GroupGrowth: groups that grow operator by operator, with bounds that hold in every scheme they may execute in."""

from __future__ import annotations

from typing import NamedTuple

from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.search.growth import GrowthBound
from tvm_fusion.search.problem import FusionProblem


class Grown(NamedTuple):
    """A group that has grown in topological order.

    ``needed`` bytes under LBDF at least, ``moved`` bytes in any scheme at least, ``work`` of the objective; ``alive``:
    bits of the schemes of which no bound says that neither it nor anything it grows into can execute so; ``extra``
    bytes that it and all it grows into move at least beyond the least.
    """

    mask: int
    needed: int
    moved: int
    work: float
    alive: int
    extra: int = 0


class GroupGrowth:
    """Grows groups of a problem; a group in which no scheme is ``alive`` need not grow on."""

    def __init__(self, problem: FusionProblem) -> None:
        oracle = problem.oracle
        self.bound = GrowthBound(problem)
        self.buffer_bytes = problem.buffer_bytes
        self.objective = oracle.objective
        self.work = oracle.objective.work
        self.lbdf = "lbdf" in oracle.schemes
        self.oracle = oracle
        # A layer is one operator; searches let every operator stand alone anyway.
        self.others = [(name, scheme) for name, scheme in oracle.schemes.items() if name not in ("lbdf", "layer")]
        self.checks = 0  # growing groups of which these were asked
        self.empty = Grown(0, 0, 0, 0.0, (1 << len(self.others) + self.lbdf) - 1)

    def add(self, group: Grown, i: int) -> Grown:
        """The group with operator ``i``, which nothing in it reads, and every scheme asked whether it may still fit."""
        return self.checked(self.extended(group, i))

    def extended(self, group: Grown, i: int) -> Grown:
        """The group with operator ``i``, by what is counted alone: schemes other than LBDF are as alive as before."""
        mask, needed, moved, work, alive, extra = group
        needed, moved = self.bound.add(mask, needed, moved, i)
        mask |= 1 << i
        if self.lbdf and needed > self.buffer_bytes:
            alive &= ~1
        return Grown(mask, needed, moved, work + self.work[i], alive, extra)

    def checked(self, group: Grown) -> Grown:
        """The group without the schemes that cannot execute it nor anything that it grows into."""
        mask, alive = group.mask, group.alive
        self.checks += bool(self.others)
        extras = [0] if self.lbdf and alive & 1 else []
        for k, (name, scheme) in enumerate(self.others, self.lbdf):
            if 0 in extras:
                break  # another scheme moves no more; this one is asked of what the group grows into
            if alive >> k & 1:
                extra = self._extra(name, scheme, group)
                if extra is None:
                    alive ^= 1 << k
                else:
                    extras.append(extra)
            if not alive >> k & 1:  # the oracle need not ask for what has grown from a group that cannot fit
                self.oracle.rule_out(name, mask, group.moved)
        return group._replace(alive=alive, extra=max(group.extra, min(extras, default=0)))

    def _extra(self, name: str, scheme: Scheme, group: Grown) -> int | None:
        """What the group and all that it grows into move at least beyond the least; None if they do not fit."""
        if scheme.growth_bound_bytes(group.mask) > self.buffer_bytes:
            return None
        if scheme.fits_by_parts:
            fit = self.oracle.fit_in(name, group.mask)
            return fit.dram_bytes - group.moved if fit is not None and fit.valid else None
        return scheme.growth_extra_bytes(group.mask)

    def joined(self, groups: list[Grown]) -> Grown:
        """Several groups that share no edge as one; what cannot execute one of them cannot execute all."""
        alive = self.empty.alive
        for group in groups:
            alive &= group.alive
        mask = sum(group.mask for group in groups)
        needed, moved = self.bound.total(mask)
        extra = max((group.extra for group in groups), default=0)
        return Grown(mask, needed, moved, sum(group.work for group in groups), alive, extra)

    def least(self, group: Grown) -> int:
        """The objective's value of the group at least."""
        return self.objective.least(group.moved + group.extra, group.work)
