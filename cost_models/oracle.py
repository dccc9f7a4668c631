"""Oracle: what every search asks about a group, computed once and cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from time import perf_counter
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.group_cache import GroupCache
from tvm_fusion.cost_models.layerwise import layerwise_cost
from tvm_fusion.cost_models.objective import Objective, check_objective, make_objective
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.schemes.base import Fit, Scheme
from tvm_fusion.cost_models.schemes.line_buffer import LineBuffers
from tvm_fusion.cost_models.schemes.registry import chosen_schemes, make_schemes, scheme_class
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import CostModelError, SchemeError
from tvm_fusion.graph.graph import OperatorGraph

# The published papers' way: line buffers, and layer by layer what does not fit alone.
LBDF = ("lbdf",)


class Oracle:
    """Costs of the groups (masks) of one graph on one accelerator.

    A group executes in that of ``schemes`` which is the cheapest by ``objective`` ("dram", "energy", "cycles") among
    those in which it fits the buffer; it is valid if there is one. A single operator may always execute layer by layer.
    ``recompute`` False: no arithmetic is executed again to save traffic. ``cache``: what earlier runs found; this one
    adds to it. Raises SchemeError for a name that is unknown and for schemes of which none executes any operator of the
    graph, CostModelError if a cost is below what must move.
    """

    def __init__(
        self,
        graph: OperatorGraph,
        accelerator: Accelerator,
        schemes: str | Iterable[str] = LBDF,
        objective: str = "dram",
        recompute: bool = True,
        cache: GroupCache | None = None,
    ) -> None:
        if not len(graph):
            raise CostModelError(f"network {graph.name!r} has no operator; at least one is needed")
        self.graph = graph
        self.accelerator = accelerator
        self.recompute = recompute
        self.sizes = Sizes(graph, accelerator)
        check_objective(objective)
        self.objective = make_objective(objective, self.sizes, accelerator)
        self.line_buffers = LineBuffers(graph, accelerator, self.sizes)
        self.model = self.line_buffers.model
        self._made: dict[str, Scheme] = {"lbdf": self.line_buffers}
        names = chosen_schemes(schemes)
        self._made |= make_schemes([n for n in names if n != "lbdf"], graph, accelerator, self.sizes, recompute)
        self.schemes = {name: self._made[name] for name in names}
        self._ways = self._all_ways()
        self.cache = cache or GroupCache()
        # By scheme the names of its ways.
        self._names = {name: [way for way, s in self._ways.items() if s.name == name] for name in self.schemes}
        self.seconds = 0.0  # spent on new groups
        self._fast: dict[int, tuple[bool, int, int]] = {}
        self._fits: dict[int, dict[str, Fit]] = {}
        self._full: dict[int, GroupCost] = {}
        singles = [1 << i for i in range(len(graph))]
        fusable = [mask for mask in singles if self.line_buffers.fit(mask).valid]
        self.fusable_mask = sum(fusable)
        self.unfused_dram_bytes = sum(self._unfused_bytes(mask) for mask in singles)
        self.compulsory_dram_bytes = self.sizes.compulsory_bytes()
        if list(self.schemes) != ["layer"] and not any(self._fits_of(mask).keys() - {"layer"} for mask in singles):
            refused = ", ".join(name for name in self.schemes if name != "layer")
            raise SchemeError(f"scheme {refused} executes no operator of network {graph.name!r} alone; add lbdf or brr")

    def by(self, objective: Objective) -> Oracle:
        """This oracle with another objective; what is known of groups stays known to both."""
        other = copy(self)
        other.objective = objective
        other._fast, other._full = {}, {}
        return other

    @property
    def evaluated(self) -> int:
        """Distinct groups computed so far."""
        return len(self._fits)

    @property
    def valid_groups(self) -> list[int]:
        """The valid ones among them."""
        return [mask for mask, (valid, _, _) in self._fast.items() if valid]

    def weight_bytes(self, mask: int) -> int:
        """Weight bytes of a group: a bound on its requirement in LBDF that grows with it."""
        return self.sizes.weights(mask)

    def evaluate(self, mask: int) -> tuple[bool, int, int]:
        """(valid, value, buffer_bytes) of a group; its value is the objective's: DRAM bytes, pJ or cycles.

        For an invalid group the value is that of its compulsory traffic, and ``buffer_bytes`` is a lower bound above
        the buffer where that settles it without an execution; :meth:`cost` gives the exact figure.
        """
        found = self._fast.get(mask)
        if found is None:
            begin = perf_counter()
            found = self._fast[mask] = self._evaluate(mask)
            self.seconds += perf_counter() - begin
        return found

    def _evaluate(self, mask: int) -> tuple[bool, int, int]:
        fits = self._fits_of(mask)
        name = self._cheapest(mask, fits)
        if name is None:
            needed = min((fit.buffer_bytes for fit in fits.values()), default=self.accelerator.buffer_bytes + 1)
            return False, self.objective.value(mask, self.least_bytes(mask)), needed
        fit = fits[name]
        return True, self.objective.value(mask, fit.dram_bytes, fit.recomputed_macs), fit.buffer_bytes

    def _fits_of(self, mask: int) -> dict[str, Fit]:
        """What the schemes say, up to the first that moves no more than must move and computes nothing again."""
        found = self._fits.get(mask)
        if found is None:
            found, least = {}, self.least_bytes(mask)
            for name in self._ways:
                fit = self._fit(name, mask)
                if fit is None:
                    continue
                if fit.valid and fit.dram_bytes < least:
                    raise CostModelError(f"group {mask:#x} moves {fit.dram_bytes} bytes in {name}, below its {least}")
                found[name] = fit
                if fit.valid and fit.dram_bytes == least and not fit.recomputed_macs:
                    break
            self._fits[mask] = found
        return found

    def fit_in(self, scheme: str, mask: int) -> Fit | None:
        """What one scheme says of a group, with recomputation if that is allowed."""
        return self._fit(self._names[scheme][-1], mask)

    def _fit(self, way: str, mask: int) -> Fit | None:
        known = self.cache.fits[way]
        return known[mask] if mask in known else known.setdefault(mask, self._ways[way].fit(mask))

    def rule_out(self, scheme: str, mask: int, least_bytes: int) -> None:
        """Take it from a search that a group, which moves ``least_bytes`` at least, cannot fit in a scheme, with
        recomputation or without."""
        for name in self._names[scheme]:
            fits = self.cache.fits[name]
            if mask not in fits:
                fits[mask] = Fit(False, least_bytes, self.accelerator.buffer_bytes + 1)

    def _cheapest(self, mask: int, fits: Mapping[str, Fit]) -> str | None:
        valid = {name: fit for name, fit in fits.items() if fit.valid}
        if not valid:
            return None
        value = self.objective.value
        return min(valid, key=lambda name: value(mask, valid[name].dram_bytes, valid[name].recomputed_macs))

    def least_bytes(self, mask: int) -> int:
        """What a group moves at least in any scheme: its inputs, outputs and weights once each."""
        return sum(self.sizes.boundary_bytes(mask)) + self.sizes.weights(mask)

    def requirement_bytes(self, mask: int) -> int:
        """F_B of a group, also where it exceeds the buffer: the least of the schemes that execute it.

        "layer" counts only where it is the only one: of a single operator that no other scheme fits, this says how
        much is missing.
        """
        ways = (scheme for name, scheme in self._ways.items() if name != "layer")
        needed = [found for scheme in ways if (found := scheme.requirement_bytes(mask)) is not None]
        return min(needed) if needed else self.cost(mask).buffer_bytes

    def cost(self, mask: int) -> GroupCost:
        """The full report of a group in its cheapest scheme; where none fits, in the first that executes it at all."""
        found = self._full.get(mask)
        if found is None:
            found = self._full[mask] = self._cost(mask)
        return found

    def _cost(self, mask: int) -> GroupCost:
        fits = self._fits_of(mask)
        name = self._cheapest(mask, fits) or next(iter(fits), "lbdf")
        cost = self._ways.get(name, self.line_buffers).cost(mask)
        assert cost is not None, "a scheme that says whether a group fits can report on it"
        if cost.dram_bytes < self.least_bytes(mask):
            least = self.least_bytes(mask)
            raise CostModelError(f"group {cost.operators} moves {cost.dram_bytes} bytes, below its compulsory {least}")
        return cost

    def cost_in(self, mask: int, scheme: str | None, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """The report of a group in the scheme that a plan names, or in the oracle's choice for None.

        Raises SchemeError for an unknown scheme, CostModelError for one that cannot execute the group.
        """
        if scheme is None:
            return self.cost(mask)
        cost = self.scheme(scheme).cost(mask, parameters or None)
        if cost is None:
            count = mask.bit_count()
            raise CostModelError(
                f"scheme {scheme!r} cannot execute the group of operator {_first(mask)} ({count} in all)"
            )
        return cost

    def scheme(self, name: str) -> Scheme:
        """The scheme of a name, also of one that groups do not choose from. Raises SchemeError for an unknown one."""
        if name not in self._made:
            self._made[name] = scheme_class(name)(self.graph, self.accelerator, self.sizes)
        return self._made[name]

    def _all_ways(self) -> dict[str, Scheme]:
        """The schemes, those that may compute something again also without: the least traffic need not be cheapest."""
        ways: dict[str, Scheme] = {}
        for name, scheme in self.schemes.items():
            without = f"{name} without recomputation"
            if scheme.recompute and scheme.recomputes_by_choice:
                ways[without] = type(scheme)(self.graph, self.accelerator, self.sizes, False)
            ways[without if scheme.recomputes and not scheme.recompute else name] = scheme
        return ways

    def _unfused_bytes(self, mask: int) -> int:
        if self.fusable_mask & mask:
            return self.least_bytes(mask)
        return layerwise_cost(self.graph, mask.bit_length() - 1, self.accelerator, self.sizes).dram_bytes


def _first(mask: int) -> int:
    return (mask & -mask).bit_length() - 1
