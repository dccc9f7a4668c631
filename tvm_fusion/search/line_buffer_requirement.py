"""LineBufferRequirement: what LBDF certainly needs, as linear inequalities.

The weights of all members, and for every tensor t that the group reads or makes the most of the following, which
:class:`~tvm_fusion.search.growth.GrowthBound` derives (there: what stays needed while a group grows). None of it
depends on what else is in the group: an operator makes at least the rows that it makes when the whole graph is one.

- a row, if the group makes t and t is not in place;
- the widest window of every member c that reads t, unless t is in place for c;
- where other paths lead from t to c and all of them lie in the group, the rows of t that they make wait for c. A convex
  group holds all paths if it makes t itself and c is a member, or if every first operator on such a path is a member.

In place is at most a tensor whose only reader is pointwise, when both ends are members.
"""

from __future__ import annotations

from collections.abc import Iterator

from tvm_fusion.search.group_programme import GroupProgramme, Term
from tvm_fusion.search.growth import GrowthBound
from tvm_fusion.search.problem import FusionProblem


class LineBufferRequirement:
    """The :class:`~tvm_fusion.search.requirement.Requirement` of LBDF."""

    def __init__(self, problem: FusionProblem) -> None:
        self._problem = problem
        self._bound = GrowthBound(problem)

    def added_bytes(self, i: int) -> int:
        """Weights, and a row of the result where nothing can take it in place."""
        bound = self._bound
        return bound.weight_bytes[i] + (bound.row_bytes[i] if bound.in_place_consumer(i) < 0 else 0)

    def needed_bytes(self, i: int) -> int:
        """These and the widest window of every operand."""
        return self.added_bytes(i) + sum(read.window_bytes for read in self._bound.reads[i] if not read.in_place)

    def ways(self, programme: GroupProgramme) -> list[int]:
        """One: rows of every tensor and all weights are in the buffer together."""
        buffer_bytes, graph = self._problem.buffer_bytes, self._problem.graph
        member, weight_bytes = programme.member, self._bound.weight_bytes
        terms = [(member[i], weight_bytes[i] / buffer_bytes) for i in member if weight_bytes[i]]
        for t in sorted({t for i in member for t in (i, *graph.operators[i].inputs)}):
            inequalities = list(self._lines(programme, t))
            most = max((max(bytes_ for _, bytes_ in needs) for needs, _ in inequalities), default=0)
            if not most:
                continue
            # In parts of the most that the tensor may need, so that all coefficients are of the size of 1.
            lines = programme.variable()
            terms.append((lines, most / buffer_bytes))
            for needs, least in inequalities:
                scaled = [(variable, -bytes_ / most) for variable, bytes_ in needs]
                programme.at_least([(lines, 1.0), *scaled], -least / most)
        way = programme.variable(whole=True)
        programme.at_most_if(way, terms, 1)
        return [way]

    def _lines(self, programme: GroupProgramme, t: int) -> Iterator[tuple[list[Term], int]]:
        """Inequalities of the bytes of tensor ``t``: at least sum(bytes * variable) - bytes."""
        bound, member, graph = self._bound, programme.member, self._problem.graph
        made = member.get(t)
        if made is not None:
            row, consumer = bound.row_bytes[t], member.get(bound.in_place_consumer(t))
            yield [(made, row), *([(consumer, -row)] if consumer is not None else [])], 0
        readers = sorted(set(graph.consumers[t]))
        for c in readers:
            if c not in member:
                continue
            for read in bound.reads[c]:
                if read.operand != t:
                    continue
                window, path = read.window_bytes, read.path_bytes
                if read.in_place:
                    yield [(member[c], window), *([(made, -window)] if made is not None else [])], 0
                    continue
                yield [(member[c], window)], 0
                more = path - window
                if not more:
                    continue
                if made is not None:
                    yield [(member[c], path), (made, more)], more
                first = [f for f in readers if read.between >> f & 1]
                if all(f in member for f in first):
                    yield [(member[c], path), *((member[f], more) for f in first)], more * len(first)
