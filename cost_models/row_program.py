"""row_program: the order in which LBDF makes the rows of a group, one event a row.

It replays the schedule of the method for code generation; the cost models only count.
"""

from __future__ import annotations

from collections.abc import Collection

from tvm_fusion.graph.graph import OperatorGraph, demand_order, members

Event = tuple[int, int]


def row_program(graph: OperatorGraph, mask: int, written: Collection[int] | None = None) -> list[Event]:
    """(tensor, row) for every row of every tensor that group ``mask`` loads (tensor from outside) or makes.

    ``written``: the tensors of which every row is made to be written; without it all that are needed outside.
    Rows of a tensor come in order without gaps. What nobody inside demands of a written or an outside tensor comes
    last, as in :mod:`tvm_fusion.cost_models.simulator`.
    """
    return _Replay(graph, mask, written).events()


class _Replay:
    def __init__(self, graph: OperatorGraph, mask: int, written: Collection[int] | None) -> None:
        self.graph = graph
        self.inside = list(members(mask))
        outputs = (i for i in self.inside if graph.successor_masks[i] & ~mask or i in graph.outputs)
        self.written = set(outputs if written is None else written)
        self.mask = mask
        operands = {operand for i in self.inside for operand in graph.operators[i].inputs}
        outside = [operand for operand in operands if operand < 0 or not mask >> operand & 1]
        self.outside = sorted(outside, key=demand_order)
        self.made = dict.fromkeys([*self.outside, *self.inside], 0)
        self.height = {i: graph.tensor(i).height for i in self.made}
        self.demands = {
            i: sorted(
                zip(graph.operators[i].inputs, graph.operators[i].demands, strict=True),
                key=lambda pair: demand_order(pair[0]),
            )
            for i in self.inside
        }
        self.found: list[Event] = []

    def events(self) -> list[Event]:
        """All rows in the order of their making."""
        successors = self.graph.successor_masks
        last = [i for i in self.inside if not successors[i] & self.mask]
        steps = max(self.height[i] for i in last)
        for step in range(steps):
            for i in last:
                height = self.height[i]
                if not (height == 1 < steps and step < steps - 1):
                    self._make_up_to(i, -(-(step + 1) * height // steps) - 1)
        for i in self.inside:
            if i in self.written:
                self._make_up_to(i, self.height[i] - 1)
        for i in self.outside:
            self._make_up_to(i, self.height[i] - 1)
        return self.found

    def _make_up_to(self, tensor: int, row: int) -> None:
        """An explicit stack: groups may be deeper than Python's recursion."""
        stack = [(tensor, row)]
        while stack:
            i, target = stack[-1]
            if self.made[i] > target:
                stack.pop()
                continue
            missing = next((pair for pair in self._needs(i) if self.made[pair[0]] <= pair[1]), None)
            if missing is not None:
                stack.append(missing)
                continue
            self.found.append((i, self.made[i]))
            self.made[i] += 1

    def _needs(self, i: int) -> list[Event]:
        """The last row of each operand that the next row of ``i`` needs."""
        needed = [(o, *demand.rows(self.made[i], self.height[o])) for o, demand in self.demands.get(i, ())]
        return [(operand, last) for operand, first, last in needed if first <= last]
