"""Oracle: what every search asks about a group, computed once and cached."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.cost_models.layerwise import layerwise_cost
from tvm_fusion.cost_models.line_buffer import LineBufferModel
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph


class Oracle:
    """Costs of the groups (masks) of one graph on one accelerator.

    A group of several operators is valid if it fits under LBDF; a single operator that does not fit
    executes layer by layer. Raises CostModelError if a cost falls below what must move.
    """

    def __init__(self, graph: OperatorGraph, accelerator: Accelerator) -> None:
        if not len(graph):
            raise CostModelError(f"network {graph.name!r} has no operator; at least one is needed")
        self.graph = graph
        self.accelerator = accelerator
        self.sizes = Sizes(graph, accelerator)
        self.model = LineBufferModel(graph, accelerator, self.sizes)
        self.seconds = 0.0  # spent on new groups
        self._fast: dict[int, tuple[bool, int, int]] = {}
        self._full: dict[int, GroupCost] = {}
        self._requirement: dict[int, int] = {}
        self.fusable_mask = sum(1 << i for i in range(len(graph)) if self.cost(1 << i).scheme == "lbdf")
        self.unfused_dram_bytes = sum(self.cost(1 << i).dram_bytes for i in range(len(graph)))
        self.compulsory_dram_bytes = self.sizes.compulsory_bytes()

    @property
    def evaluated(self) -> int:
        """Distinct groups computed so far."""
        return len(self._fast.keys() | self._full.keys())

    def weight_bytes(self, mask: int) -> int:
        """Weight bytes of a group: a bound on its requirement that grows with it."""
        return self.sizes.weights(mask)

    def evaluate(self, mask: int) -> tuple[bool, int, int]:
        """(valid, dram_bytes, buffer_bytes) of a group.

        For an invalid group ``buffer_bytes`` is a lower bound above the buffer where that settles it
        without an execution; :meth:`cost` gives the exact figure.
        """
        found = self._fast.get(mask)
        if found is None:
            begin = perf_counter()
            found = self._fast[mask] = self._evaluate(mask)
            self.seconds += perf_counter() - begin
        return found

    def _evaluate(self, mask: int) -> tuple[bool, int, int]:
        if not mask & (mask - 1):
            cost = self.cost(mask)
            return cost.valid, cost.dram_bytes, cost.buffer_bytes
        weight_bytes = self.sizes.weights(mask)
        dram_bytes = sum(self.sizes.boundary_bytes(mask)) + weight_bytes
        if weight_bytes > self.accelerator.buffer_bytes:
            return False, dram_bytes, weight_bytes
        needed = self.model.lower_bound_bytes(mask)
        if needed > self.accelerator.buffer_bytes:
            return False, dram_bytes, needed
        needed = self.requirement_bytes(mask)
        return needed <= self.accelerator.buffer_bytes, dram_bytes, needed

    def requirement_bytes(self, mask: int) -> int:
        """Exact F_B of a group under LBDF, also where it exceeds the buffer."""
        found = self._requirement.get(mask)
        if found is None:
            found = self._requirement[mask] = self.model.requirement_bytes(mask)
        return found

    def cost(self, mask: int) -> GroupCost:
        """The full report of a group, by tensor."""
        found = self._full.get(mask)
        if found is None:
            found = self._full[mask] = self._cost(mask)
        return found

    def cost_in(self, mask: int, scheme: str | None, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """The report of a group in the scheme that a plan names: "lbdf", "layer", or None for the oracle's choice."""
        if scheme == "brr":
            chosen = parameters or {}
            return BandModel(self.graph, self.accelerator, self.sizes).cost(
                mask, chosen.get("bands"), chosen.get("kept", [])
            )
        if scheme == "lbdf":
            return self.model.cost(mask)
        if scheme == "layer":
            return layerwise_cost(self.graph, mask.bit_length() - 1, self.accelerator, self.sizes)
        return self.cost(mask)

    def _cost(self, mask: int) -> GroupCost:
        cost = self.model.cost(mask)
        if not cost.valid and len(cost.operators) == 1:
            cost = layerwise_cost(self.graph, cost.operators[0], self.accelerator, self.sizes)
        least = sum(self.sizes.boundary_bytes(mask)) + self.sizes.weights(mask)
        if cost.dram_bytes < least:
            raise CostModelError(f"group {cost.operators} moves {cost.dram_bytes} bytes, below its compulsory {least}")
        return cost
