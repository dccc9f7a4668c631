"""Flow: a largest flow through a small network, and what it says of the smallest cuts."""

from __future__ import annotations

INFINITE = 1 << 62


class Flow:
    """A network of ``nodes`` nodes from 0; sets of them are masks. ``push`` sends the most from node 0 to node 1."""

    SOURCE = 0
    SINK = 1

    def __init__(self, nodes: int) -> None:
        self._onward = [0] * nodes
        self._back = [0] * nodes
        self._residual: dict[tuple[int, int], int] = {}

    def add(self, tail: int, head: int, capacity: int, backward: int = 0) -> None:
        """An arc for ``capacity`` from ``tail`` to ``head``, and for ``backward`` the other way."""
        for arc, more in (((tail, head), capacity), ((head, tail), backward)):
            self._residual[arc] = self._residual.get(arc, 0) + more
            if more:
                self._open(*arc)

    def push(self) -> None:
        """Send as much as the arcs let through, along shortest paths (Edmonds and Karp, 1972)."""
        while (layers := _layers(self._onward, self.SOURCE, self.SINK))[-1] >> self.SINK & 1:
            at, path = self.SINK, []
            for layer in reversed(layers[:-1]):
                from_here = layer & self._back[at]
                before = (from_here & -from_here).bit_length() - 1
                path.append((before, at))
                at = before
            amount = min(self._residual[arc] for arc in path)
            for tail, head in path:
                self._residual[tail, head] -= amount
                self._residual[head, tail] += amount
                self._open(head, tail)
                if not self._residual[tail, head]:
                    self._onward[tail] ^= 1 << head
                    self._back[head] ^= 1 << tail

    def reached(self) -> int:
        """After ``push``: nodes that more could flow to, which is the smallest source side of a smallest cut."""
        return sum(_layers(self._onward, self.SOURCE, self.SINK))

    def reaching(self) -> int:
        """After ``push``: nodes that more could flow from to the sink, the smallest sink side of a smallest cut."""
        return sum(_layers(self._back, self.SINK, self.SOURCE))

    def _open(self, tail: int, head: int) -> None:
        self._onward[tail] |= 1 << head
        self._back[head] |= 1 << tail


def _layers(neighbours: list[int], start: int, goal: int) -> list[int]:
    """Nodes by their distance from ``start``, until ``goal`` is met or no more are found."""
    layers = [1 << start]
    left = ~layers[0]
    while (layer := layers[-1]) and not layer >> goal & 1:
        found = 0
        while layer:
            low = layer & -layer
            found |= neighbours[low.bit_length() - 1]
            layer ^= low
        found &= left
        left ^= found
        layers.append(found)
    return layers
