"""Two passes, or k + 1: a group whose rows run several times, so that no map is held while its scale is computed.

Squeeze-and-excite multiplies a map by a function of its own global pooling (the *scale*), so plain LBDF holds the map
whole. Here a first pass makes the scale and nothing else stays; the next pass makes the map again, row by row. Where
scales need one another, each level of them takes a pass. Every pass is LBDF; see :mod:`pass_division` for what it
executes, and :mod:`pass_choice` for how chains are chosen.

Where the specification leaves something open:

- Any set of a group's chains may be split off; the others stay in LBDF, which holds what waits for them.
- A pass executes what its scales (the last one: what the results left over) need, so nothing that only a chain reads
  is made again. A result is written once; see :func:`pass_division.divide`.
- Whether a tensor is in place depends on its readers in the whole network, so it is not in place for its only reader in
  one pass if another one reads it too.
- A scale is on chip, one row, from the pass that makes it to the last one that reads it.
- Weights of ``kept`` operators are on chip throughout, and loaded once. Others are there in the passes that use them
  only; with ``weights`` "shared" they stay from a pass to the next if both use them, and with "reloaded" each pass
  loads its own. So ``kept`` of all operators is the first of the specification's two figures, and none with "reloaded"
  the second; "shared" needs no more than the second, and moves no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.pass_bound import PassBound
from tvm_fusion.cost_models.pass_chains import Chains
from tvm_fusion.cost_models.pass_choice import PassChoice, least_requirement, least_traffic
from tvm_fusion.cost_models.pass_group import PassGroup
from tvm_fusion.cost_models.scheme import GroupCost, TensorBuffer
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members

_WEIGHTS = ("shared", "reloaded")


class MultiPassModel:
    """Requirement and traffic in passes of groups of one graph on one accelerator.

    Parameters of a group's cost: ``split``, the heads (accumulating operators) of the chains that are split off;
    ``kept``, the operators whose weights are kept throughout; ``weights``, "shared" or "reloaded".
    """

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None) -> None:
        self.graph = graph
        self.accelerator = accelerator
        self.sizes = sizes or Sizes(graph, accelerator)
        self.lines = LineBufferModel(graph, accelerator, self.sizes)
        self.chains = Chains(graph)
        self.bound = PassBound(self.lines, self.chains)
        self._line_bytes: dict[tuple[int, int], int] = {}

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost | None:
        """The whole report of a group; None if it has no chain that could be split off.

        Without ``parameters`` the choice that moves least among those that fit, or the one that needs least on chip.
        Raises CostModelError for a mask that is no group, or parameters that are none of this one.
        """
        if mask <= 0 or mask >> len(self.graph):
            last = len(self.graph) - 1
            raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {last}, at least one")
        if parameters is not None:
            return self._report(*self._given(mask, parameters))
        choice = self.choose(mask) or least_requirement(self, mask)
        return None if choice is None else self._report(choice.group, choice.kept)

    def choose(self, mask: int) -> PassChoice | None:
        """The choice that moves least among those that fit the buffer; None if none does, or there is no chain."""
        if self.growth_bound_bytes(mask) > self.accelerator.buffer_bytes:
            return None
        return least_traffic(self, mask)

    def growth_bound_bytes(self, mask: int) -> int:
        """Bytes that a group needs in passes or in LBDF, and all that it grows into; see :class:`PassBound`."""
        return self.bound.growth_bound_bytes(mask)

    def group(self, mask: int, heads: int, shared: bool = True) -> PassGroup:
        """Group ``mask`` with the chains of ``heads`` split off."""
        return PassGroup(self, mask, heads, shared)

    def line_bytes(self, executed: int, results: int) -> int:
        """Line buffers of a pass that executes the first mask and makes the tensors of the second whole."""
        found = self._line_bytes.get((executed, results))
        if found is None:
            lines = self.lines.lines(executed, set(members(results)))
            found = sum(self.sizes.line_bytes(t, count) for t, count in lines.items())
            self._line_bytes[executed, results] = found
        return found

    def _given(self, mask: int, parameters: Mapping[str, Any]) -> tuple[PassGroup, int]:
        allowed = {"split", "kept", "weights"}
        if not set(parameters) <= allowed or "split" not in parameters:
            raise CostModelError(f"parameters {sorted(parameters)} of two-pass; allowed: split, and kept and weights")
        heads = _operators(
            parameters["split"], mask & self.chains.heads, "split", "accumulating operators of the group"
        )
        kept = _operators(parameters.get("kept", []), mask, "kept", "operators of the group")
        weights = parameters.get("weights", "shared")
        if weights not in _WEIGHTS:
            raise CostModelError(f"weights {weights!r} of two-pass; allowed: {', '.join(_WEIGHTS)}")
        group = self.group(mask, heads, weights == "shared")
        if len(group.passes) < 2:
            raise CostModelError(f"split {parameters['split']!r}: no operator of several rows waits for these chains")
        return group, kept

    def _report(self, group: PassGroup, kept: int) -> GroupCost:
        graph, sizes, accelerator = self.graph, self.sizes, self.accelerator
        most: dict[int, int] = {}
        for p in group.passes:
            for t, count in self.lines.lines(p.executed, set(members(p.results))).items():
                most[t] = max(count, most.get(t, 0))
        buffers = tuple(TensorBuffer(t, count, sizes.line_bytes(t, count)) for t, count in sorted(most.items()))
        needed, moved = group.requirement_bytes(kept), group.dram_bytes(kept)
        recomputed = group.recomputed_macs()
        operators = tuple(members(group.mask))
        macs = recomputed + sum(graph.operators[i].macs * graph.operators[i].batch for i in operators)
        return GroupCost(
            operators=operators,
            scheme="two-pass",
            valid=needed <= accelerator.buffer_bytes,
            buffer_bytes=needed,
            buffers=buffers,
            weight_buffer_bytes=max(sizes.weights(p.executed | kept) for p in group.passes),
            input_bytes=group.input_bytes,
            output_bytes=group.output_bytes,
            weight_bytes=group.moved_weight_bytes(kept),
            macs=macs,
            estimated_cycles=estimated_cycles(accelerator, moved, macs),
            estimated_energy_pj=estimated_energy_pj(accelerator, sizes, group.mask, moved, macs),
            recomputed_macs=recomputed,
            parameters={
                "split": list(members(group.heads)),
                "kept": list(members(kept)),
                "weights": "shared" if group.shared else "reloaded",
            },
        )


def _operators(given: Any, among: int, name: str, allowed: str) -> int:
    """A mask of operator ids from JSON."""
    ids = list(given) if isinstance(given, list | tuple) else None
    if ids is None or any(isinstance(i, bool) or not isinstance(i, int) or i < 0 or not among >> i & 1 for i in ids):
        raise CostModelError(f"{name} {given!r} of two-pass; allowed: a list of {allowed}: {list(members(among))}")
    return mask_of(ids)
