"""OracleBehind: what groups behind a bottleneck of a network cost at least, its operator being a *source*.

Groups without the source are groups of the network. One with it counts with its inputs, outputs and weights, once each,
as soon as some scheme may execute it: it stands for the part behind the bottleneck of any group that crosses it.
"""

from __future__ import annotations

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph.bottlenecks import behind


class OracleBehind(Oracle):
    """The network ``base`` is for, behind operator ``p``, which is number 0 and makes its tensor from nothing.

    Raises SchemeError where no scheme executes anything there.
    """

    def __init__(self, base: Oracle, p: int) -> None:
        super().__init__(behind(base.graph, p), base.accelerator, list(base.schemes), recompute=base.recompute)
        self.base, self.p = base, p
        names = [name for name in self.schemes if name != "layer"]  # a layer is one operator
        self._by_speed = sorted(names, key=lambda name: self.schemes[name].fits_behind_cuts)  # bounds are quick
        self._crossing: dict[int, bool] = {}

    @property
    def evaluated(self) -> int:
        """Distinct groups of the network computed so far."""
        return self.base.evaluated

    def evaluate(self, mask: int) -> tuple[bool, int, int]:
        """(may execute, DRAM bytes at least, 0) of a group with the source, else what the network's oracle says."""
        if not mask & 1:
            return self.base.evaluate(mask << self.p)
        valid = self._crossing.get(mask)
        if valid is None:
            valid = mask == 1 or any(
                self._may_fit(name, mask, self.schemes[name].fits_behind_cuts) for name in self._by_speed
            )
            self._crossing[mask] = valid
        return valid, self.least_bytes(mask), 0

    def may_grow(self, name: str, mask: int) -> bool:
        """Whether nothing says that a scheme can execute neither a group with the source nor what it grows into."""
        scheme = self.schemes[name]
        return self._may_fit(name, mask, scheme.fits_by_parts and scheme.fits_behind_cuts)

    def _may_fit(self, name: str, mask: int, ask: bool) -> bool:
        """Whether no bound says that a scheme cannot execute a group and, if it is to be asked, neither does it."""
        if self.schemes[name].growth_bound_bytes(mask) > self.accelerator.buffer_bytes:
            return False
        fit = self.fit_in(name, mask) if ask else None
        return not ask or (fit is not None and fit.valid)
