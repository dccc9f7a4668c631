"""Channel streaming: the mirror image of LBDF, one channel of wide tensors at a time.

What the specification leaves open is done as follows:

- How an operator treats channels: see :mod:`tvm_fusion.cost_models.channel_roles`. Grouped convolutions mix. Copies
  between channels (slice, reshape, ..) are like mixing without sums: never streamed on both sides, no accumulators.
  Softmax, norms, products of two activations and unknown operators take their operands whole, make a resident result,
  are alone in their phase and have all of their weights on chip there.
- In a pointwise operator, an operand that broadcasts along the channels must be resident.
- A resident result that is made channel by channel can be read channel by channel in the same phase; a result that
  accumulates, is copied together or concatenated is complete only when its phase has ended.
- Tensors of a phase that have fewer channels than others end earlier. A phase need not be connected.
- A result that several phases make is written once. Every tensor is resident or streamed throughout; a resident one is
  made in one phase. One-row tensors are always resident, network inputs too.
- In place among streams is what LBDF computes in place, its exception for merges included: the stream stays inside the
  group and its only consumer runs in the same phase. Group inputs are not in place, nor operands of concat.
- A resident pointwise result takes the memory of one resident operand of the same shape and bytes that it reads channel
  by channel and that is read last by it; what else reads that operand in the same phase must be pointwise and in place
  for nobody but it. It may be a group input, or be made in the same phase. Outputs are written when they are made.
- Batch: weights pass for every image in every phase.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.channel_assignment import ChannelAssignment
from tvm_fusion.cost_models.channel_facts import ChannelFacts
from tvm_fusion.cost_models.channel_group import EvaluatedChannels, evaluate_channels
from tvm_fusion.cost_models.channel_growth import ChannelGrowth
from tvm_fusion.cost_models.channel_phase import PhaseNeeds
from tvm_fusion.cost_models.channel_search import ChannelSearch
from tvm_fusion.cost_models.channel_simulator import simulate_channels
from tvm_fusion.cost_models.estimate import estimated_cycles, estimated_energy_pj
from tvm_fusion.cost_models.scheme import GroupCost, TensorBuffer
from tvm_fusion.cost_models.schemes.base import Fit, Scheme
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import Sizes, output_channels
from tvm_fusion.errors import CostModelError
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members


class ChannelStreaming(Scheme):
    """One channel after another; parameters: ``phases`` and ``resident`` (see :class:`ChannelAssignment`)."""

    name = "channel-streaming"
    fits_behind_cuts = True
    recomputes = True
    recomputes_by_choice = True
    exact_choice = False
    fits_by_parts = True  # an assignment without the operators that nothing left reads needs no more

    def __init__(
        self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None, recompute: bool = True
    ) -> None:
        super().__init__(graph, accelerator, sizes, recompute)
        self.needs = PhaseNeeds(ChannelFacts(graph, accelerator, self.sizes))
        self.search = ChannelSearch(self.needs, accelerator.buffer_bytes, recompute)
        self.growth = ChannelGrowth(self.needs.facts)

    def growth_bound_bytes(self, mask: int) -> int:
        """Bytes that a group and all that it grows into need at least."""
        return self.growth.bound_bytes(mask)

    def fit(self, mask: int) -> Fit:
        """The best assignment, if one fits."""
        limit, needed = self.accelerator.buffer_bytes, self.growth_bound_bytes(mask)
        found = self.search.best(mask) if needed <= limit else None
        boundary = sum(self.sizes.boundary_bytes(mask))
        if found is None:
            return Fit(False, boundary + self.sizes.weights(mask), max(needed, limit + 1))
        moved = boundary + self.graph.batch * self.sizes.weights(mask) + found.extra_bytes
        return Fit(True, moved, found.buffer_bytes, found.recomputed_macs)

    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost:
        """The report of a group as ``parameters`` say (:class:`ChannelAssignment` as JSON), or in the assignment that
        moves least of those that fit; where none fits, in the one that needs least.

        Raises CostModelError for a mask that is no group and for parameters with which it cannot be executed.
        """
        if mask <= 0 or mask >> len(self.graph):
            last = len(self.graph) - 1
            raise CostModelError(f"group mask {mask:#x} is not one; allowed: operators 0 .. {last}, at least one")
        if parameters:
            assignment = ChannelAssignment.from_json(parameters)
        else:
            assignment = self.choose(mask) or self.least_requirement(mask)
        return self._report(mask, assignment, evaluate_channels(self.needs, mask, assignment))

    def choose(self, mask: int) -> ChannelAssignment | None:
        """The assignment that moves least of those that fit; None if none does."""
        if self.growth_bound_bytes(mask) > self.accelerator.buffer_bytes:
            return None
        return self.search.assignment(mask)

    def least_requirement(self, mask: int) -> ChannelAssignment:
        """The assignment that needs least on chip; of equals the one that moves least."""
        low = self.growth_bound_bytes(mask)
        facts = self.needs.facts
        single = [1 << i for i in members(mask)]
        tensors = mask << facts.shift | sum(1 << t + facts.shift for t in self.sizes.outside_inputs(mask))
        every = ChannelAssignment(
            tuple(tuple(members(m)) for m in single), tuple(bit - facts.shift for bit in members(tensors))
        )
        best, high = every, evaluate_channels(self.needs, mask, every).buffer_bytes
        while low < high:
            middle = (low + high) // 2
            found = ChannelSearch(self.needs, middle, self.recompute).assignment(mask)
            if found is None:
                low = middle + 1
            else:
                best, high = found, evaluate_channels(self.needs, mask, found).buffer_bytes
        return best

    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """Execute the group that ``cost`` reports, event by event."""
        assignment = ChannelAssignment.from_json(cost.parameters)
        mask = mask_of(cost.operators)
        return simulate_channels(self.graph, mask, self.accelerator, assignment, keep_timeline)

    def _report(self, mask: int, assignment: ChannelAssignment, found: EvaluatedChannels) -> GroupCost:
        graph, sizes, accelerator = self.graph, self.sizes, self.accelerator
        operators = tuple(members(mask))
        output_bytes = sizes.boundary_bytes(mask)[1]
        dram_bytes = found.input_bytes + output_bytes + found.weight_bytes
        macs = sum(graph.operators[i].macs * graph.operators[i].batch for i in operators) + found.recomputed_macs
        return GroupCost(
            operators=operators,
            scheme=self.name,
            valid=found.buffer_bytes <= accelerator.buffer_bytes,
            buffer_bytes=found.buffer_bytes,
            buffers=self._buffers(mask, assignment, found),
            weight_buffer_bytes=0,
            input_bytes=found.input_bytes,
            output_bytes=output_bytes,
            weight_bytes=found.weight_bytes,
            macs=macs,
            estimated_cycles=estimated_cycles(accelerator, dram_bytes, macs),
            estimated_energy_pj=estimated_energy_pj(accelerator, sizes, mask, dram_bytes, macs),
            recomputed_macs=found.recomputed_macs,
            parameters=assignment.to_json(),
        )

    def _buffers(self, mask: int, assignment: ChannelAssignment, found: EvaluatedChannels) -> tuple[TensorBuffer, ...]:
        """Channels of every tensor that are on chip at most, and their bytes as it is made, sums included."""
        facts = self.needs.facts
        summing = 0
        own: dict[int, int] = {}
        for phase in found.phases:
            summing |= phase.summing
            for i, channels in self.needs.channels(phase.executed, phase.resident).items():
                own[i] = max(own.get(i, 0), channels)
        buffers = []
        resident = set(assignment.resident)
        for t in [*self.sizes.outside_inputs(mask), *members(mask)]:
            if t in resident:
                held = facts.sum_bytes[t] if t >= 0 and summing >> t & 1 else facts.image_bytes[t]
                held = max(held, facts.image_bytes[t])
                buffers.append(TensorBuffer(t, output_channels(self.graph.tensor(t)), held))
            else:
                channels = own.get(t, 1)
                buffers.append(TensorBuffer(t, channels, channels * facts.channel_bytes[t]))
        return tuple(sorted(buffers, key=lambda buffer: buffer.tensor))
