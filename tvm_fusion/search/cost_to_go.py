"""CostToGo: DRAM bytes that any plan moves at least after an ideal; more than inputs, outputs and weights once each.

Where a single tensor T, made by operator p, leads from the operators up to p to all others, a plan falls into two
parts there: groups before and groups behind the cut, and at most one group that crosses it (a group is connected). Of
that one the part behind the cut needs no more on chip, and adds no more to the least traffic, than if p made T from
nothing: so the least that moves behind the cut is that of the network in which p is such a *source*. Groups without
the source are groups of the network itself. One with it counts with its inputs, outputs and weights, once each, as
soon as some scheme may execute it; the source alone writes T.

Before the cut everything moves once at least. So what moves after an ideal is bounded by the next cut behind it; and
with these bounds the network behind one cut is searched quickly once the next ones are known, from the last to the
first ("Russian dolls": Verfaillie, Lemaitre, Schiex, AAAI 1996).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Mapping
from dataclasses import replace

from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.search.algorithm import never
from tvm_fusion.search.group_growth import Grown, GroupGrowth
from tvm_fusion.search.problem import FusionProblem, Partition

_STEPS = 64  # the first value tried behind a cut is above the least by this part of what a plan moves beyond that


def cut_operators(graph: OperatorGraph, apart: int = 1) -> list[int]:
    """Operators p, at least ``apart`` from one to the next, of which the tensor alone is read both sides of p.

    No input of the network may be read on both sides either.
    """
    last = [max(graph.consumers[i], default=i) for i in range(len(graph))]
    inputs = max((max(graph.consumers[-k - 1], default=-1) for k in range(len(graph.inputs))), default=-1)
    found: list[int] = []
    reach = -1  # the last reader of tensors before p
    for p in range(len(graph) - 1):
        if max(reach, inputs) <= p < last[p] and (not found or p - found[-1] >= apart):
            found.append(p)
        reach = max(reach, last[p])
    return found


def behind(graph: OperatorGraph, p: int) -> OperatorGraph:
    """The network in which operator ``p``, now number 0, makes its tensor from nothing, and those after it."""
    source = replace(graph.operators[p], id=0, inputs=(), demands=(), pointwise=True, type="source", window=None,
                     weight_elements=0, weight_bytes=None, macs=0)  # fmt: skip
    rest = (
        replace(op, id=op.id - p, inputs=tuple(t - p if t >= 0 else t for t in op.inputs))
        for op in graph.operators[p + 1 :]
    )
    outputs = tuple(i - p for i in graph.outputs if i >= p)
    return OperatorGraph(graph.name, graph.inputs, (source, *rest), outputs)


class _Crossing:
    """Groups with the source of a network :func:`behind` a cut: whether some scheme may execute one."""

    def __init__(self, base: Oracle, p: int) -> None:
        self.graph = behind(base.graph, p)
        oracle = Oracle(self.graph, base.accelerator, [name for name in base.schemes if name != "layer"] or "layer",
                        recompute=base.recompute)  # fmt: skip
        self.schemes: Mapping[str, Scheme] = oracle.schemes
        names = [name for name in oracle.schemes if name != "layer"]  # a layer is one operator
        self._names = sorted(names, key=lambda name: oracle.schemes[name].fits_behind_cuts)  # bounds are quick
        self.buffer_bytes = base.accelerator.buffer_bytes
        self._known: dict[tuple[str, int], bool] = {}
        self._valid: dict[int, bool] = {}

    def may_grow(self, name: str, mask: int) -> bool:
        """Whether no bound says that neither the group nor what it grows into can execute in a scheme."""
        scheme = self.schemes[name]
        if scheme.growth_bound_bytes(mask) > self.buffer_bytes:
            return False
        return not (scheme.fits_by_parts and scheme.fits_behind_cuts) or self._fits(name, mask)

    def _fits(self, name: str, mask: int) -> bool:
        found = self._known.get((name, mask))
        if found is None:
            fit = self.schemes[name].fit(mask)
            found = self._known[name, mask] = fit is not None and fit.valid
        return found

    def valid(self, mask: int) -> bool:
        """Whether some scheme may execute the group, or a larger one of which it is the part behind the cut."""
        found = self._valid.get(mask)
        if found is None:
            found = self._valid[mask] = any(self._may_fit(name, mask) for name in self._names)
        return found

    def _may_fit(self, name: str, mask: int) -> bool:
        scheme = self.schemes[name]
        if scheme.growth_bound_bytes(mask) > self.buffer_bytes:
            return False
        return not scheme.fits_behind_cuts or self._fits(name, mask)


class GrowthBehind(GroupGrowth):
    """Growing groups of the network :func:`behind` operator ``p``; those without the source as ``base`` grows them."""

    def __init__(self, base: GroupGrowth, crossing: _Crossing, p: int) -> None:
        self.base, self.crossing, self.p = base, crossing, p
        self.others, self.empty, self.lbdf = base.others, base.empty, base.lbdf
        self.objective, self.buffer_bytes = base.objective, base.buffer_bytes
        bound = base.bound
        row_bytes = 0 if bound.in_place_consumer(p) >= 0 else bound.row_bytes[p]
        self._source = self.empty._replace(mask=1, needed=row_bytes, moved=bound.tensor_bytes[p])

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
            if alive >> k & 1 and not self.crossing.may_grow(name, mask):
                alive ^= 1 << k
        return group._replace(alive=alive)


class OracleBehind:
    """What a search asks of groups behind operator ``p``."""

    def __init__(self, base: Oracle, crossing: _Crossing, p: int) -> None:
        self.base, self.crossing, self.p, self.graph = base, crossing, p, crossing.graph
        self.objective, self.schemes, self.accelerator = base.objective, base.schemes, base.accelerator
        self.compulsory_dram_bytes = 0

    @property
    def evaluated(self) -> int:
        """Distinct groups of the network computed so far."""
        return self.base.evaluated

    def evaluate(self, mask: int) -> tuple[bool, int, int]:
        """See :class:`Oracle`."""
        if not mask & 1:
            return self.base.evaluate(mask << self.p)
        valid = mask == 1 or self.crossing.valid(mask)
        return valid, self.least_bytes(mask), 0

    def least_bytes(self, mask: int) -> int:
        """See :class:`Oracle`; the source has neither inputs nor weights."""
        base, mask_there = self.base, mask << self.p
        if not mask & 1:
            return base.least_bytes(mask_there)
        sizes = base.sizes
        inputs = sum(sizes.tensor_bytes[t] for t in sizes.outside_inputs(mask_there & ~(1 << self.p)) if t != self.p)
        outputs = sum(sizes.tensor_bytes[t] for t in sizes.outputs(mask_there))
        return inputs + outputs + sizes.weights(mask_there) - sizes.weight_bytes[self.p]


def _moved_behind(plan: Partition, p: int, oracle: OracleBehind) -> int | None:
    """What a plan moves behind a cut, where the part of the group that crosses it may execute; else None."""
    masks = [mask >> p for mask in plan if mask >> p]
    ends = [mask if mask & 1 else mask & ~1 for mask in masks]
    found = [oracle.evaluate(mask) for mask in ends]
    return sum(value for _, value, _ in found) if all(valid for valid, _, _ in found) else None


class CostToGo:
    """Lower bounds of what moves after ideals of ``problem``, by cuts at least ``apart`` operators apart."""

    def __init__(self, problem: FusionProblem, growth: GroupGrowth, apart: int = 1) -> None:
        self.problem, self.growth, self.oracle = problem, growth, problem.oracle
        self.cuts = cut_operators(problem.graph, apart)
        self.groups = self.checks = 0
        self._behind: dict[int, int] = {}  # by cut the least bytes of the network behind it
        self._known: dict[int, int] = {}

    def search(self, plan: Partition, most_checks: int | None = None, stop: Callable[[], bool] = never) -> None:
        """Bounds of all cuts, from the last to the first, each by ``most_checks`` groups at most.

        ``plan``: one that is known. No better bound is looked for than what it moves behind a cut.
        """
        from tvm_fusion.search.ideal_path import IdealPath

        step = max(1, (self.problem.plan_value(plan) - self.least_bytes(0)) // _STEPS)
        for p in reversed(self.cuts):
            if stop():
                break
            crossing = _Crossing(self.oracle, p)
            oracle = OracleBehind(self.oracle, crossing, p)
            problem = FusionProblem(crossing.graph, oracle)
            path = IdealPath(problem, growth=GrowthBehind(self.growth, crossing, p), to_go=self._after(oracle, p),
                             max_checks=most_checks)  # fmt: skip
            path.refute(step, _moved_behind(plan, p, oracle), stop)
            self.checks += path.checks
            self.groups += path.groups
            self._behind[p] = path.at_least
            self._known.clear()

    def least_bytes(self, ideal: int) -> int:
        """Bytes that move after an ideal at least."""
        found = self._known.get(ideal)
        if found is None:
            found = self._known[ideal] = self._least_bytes(ideal)
        return found

    def _least_bytes(self, ideal: int) -> int:
        found, size = 0, ideal.bit_length()
        rest = self.problem.everything & ~ideal
        k = bisect_left(self.cuts, size - 1)
        for p in self.cuts[k:]:
            before = rest & (2 << p) - 1
            if p not in self._behind:
                continue
            # The tensor is written by a group with the source, or by one before the cut; perhaps it was long ago.
            found = max(found, self.oracle.least_bytes(before) + self._behind[p] - self.oracle.sizes.tensor_bytes[p])
            if before >> p & 1:
                return found
        return max(found, self.oracle.least_bytes(rest))

    def _after(self, oracle: OracleBehind, p: int) -> Callable[[int], int]:
        """The same of ideals behind ``p``."""
        below = (1 << p) - 1

        def least_bytes(ideal: int) -> int:
            if ideal & 1:
                return self.least_bytes(ideal << p | below)
            for q in self.cuts:
                if q > p and q in self._behind:
                    before = ((2 << q) - 1) >> p & ~ideal
                    return oracle.least_bytes(before) + self._behind[q] - self.oracle.sizes.tensor_bytes[q]
            return oracle.least_bytes(((1 << len(oracle.graph)) - 1) & ~ideal)

        return least_bytes
