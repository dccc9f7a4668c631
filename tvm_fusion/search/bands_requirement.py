"""BandsRequirement: what BRR certainly needs and moves, as linear inequalities.

A group goes in one band or in several.

- In one band every member has whole what it reads and makes while it runs, as far as the whole network demands it.
- In several, a row that the whole network demands is in some band, so while a member runs, what this row needs is on
  chip. The weights that are kept are there as well; all others move at least twice.
- Halos, and tensors that wait for later readers, are left out.
"""

from __future__ import annotations

from tvm_fusion.cost_models.bands import BandModel
from tvm_fusion.search.group_programme import GroupProgramme
from tvm_fusion.search.problem import FusionProblem


class BandsRequirement:
    """The :class:`~tvm_fusion.search.requirement.Requirement` of BRR."""

    def __init__(self, problem: FusionProblem) -> None:
        self._buffer_bytes = problem.buffer_bytes
        self._batch = problem.graph.batch
        self._sizes = problem.oracle.sizes
        self._graph = problem.graph
        self._model = BandModel(problem.graph, problem.oracle.accelerator, self._sizes)
        self._needed = [self._model.growth_bound(1 << i).needed_bytes for i in range(problem.size)]
        self._whole = [self._whole_bytes(i) for i in range(problem.size)]

    def added_bytes(self, i: int) -> int:  # noqa: ARG002 - the interface
        """None: operators run one after another, and their weights may be streamed."""
        return 0

    def needed_bytes(self, i: int) -> int:
        """For one row, with the least part of the weights."""
        return self._needed[i]

    def ways(self, programme: GroupProgramme) -> list[int]:
        """In one band, or in several."""
        member, buffer_bytes = programme.member, self._buffer_bytes
        one, several = (programme.variable(whole=True) for _ in range(2))
        for i, variable in member.items():
            if self._whole[i] > buffer_bytes:
                programme.at_least([(variable, -1.0), (one, -1.0)], -1)
        running = programme.variable()
        terms = [(running, 1.0)]
        for i, variable in member.items():
            alive = max(0, self._needed[i] - self._model.part_bytes[i]) / buffer_bytes
            programme.at_least([(running, 1.0), (variable, -alive), (several, -alive)], -alive)
            weight_bytes = self._sizes.weight_bytes[i]
            if weight_bytes:
                kept = programme.variable()
                streamed = programme.variable(cost_bytes=(2 * self._batch - 1) * weight_bytes)
                programme.at_least([(kept, 1.0), (streamed, 1.0), (variable, -1.0), (several, -1.0)], -1)
                terms.append((kept, weight_bytes / buffer_bytes))
        programme.at_most_if(several, terms, 1)
        return [one, several]

    def _whole_bytes(self, i: int) -> int:
        """What operator ``i`` has on chip while it makes in one band all rows that the whole network demands."""
        operator, model = self._graph.operators[i], self._model
        rows = model.demanded_rows[i]
        if not len(rows):
            return 0
        found = model.part_bytes[i] + self._sizes.line_bytes(i, int(rows[-1] - rows[0]) + 1)
        for operand, demand in zip(operator.inputs, operator.demands, strict=True):
            height = self._graph.tensor(operand).height
            spans = [demand.rows(int(row), height) for row in rows]
            spans = [(first, last) for first, last in spans if last >= first]
            if spans:
                count = max(last for _, last in spans) - min(first for first, _ in spans) + 1
                found += self._sizes.line_bytes(operand, count)
        return found
