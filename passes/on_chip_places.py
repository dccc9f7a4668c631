"""OnChipPlaces: an address for the rows of every tensor and for every weight of a group."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.sizes import bytes_of, dtype_bits
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.passes.lowering.row_homes import row_homes

BUFFER, ACCUMULATOR = "buffer", "accumulator"


@dataclass(frozen=True, slots=True)
class RowPlace:
    """Row ``r`` of tensor ``operand`` lies at ``address + r % lines * row_bytes`` of ``memory``.

    Tensors computed in place have the place of the operator that reads them.
    """

    operand: int
    memory: str
    address: int
    lines: int
    row_bytes: int

    def at(self, row: int) -> int:
        """The address of a row."""
        return self.address + row % self.lines * self.row_bytes


@dataclass(frozen=True, slots=True)
class WeightPlace:
    """The ``number``-th weight of ``operator``, ``size_bytes`` in the buffer from ``address``."""

    operator: int
    number: int
    address: int
    size_bytes: int


@dataclass(frozen=True)
class OnChipPlaces:
    """``memory_map``: (name, address, bytes) of everything in the buffer; ``end`` the first byte after it.

    ``accumulator_bytes`` is held beside the buffer, as the cost model says: rows of a second operand computed in place.
    """

    rows: tuple[RowPlace, ...]
    weights: tuple[WeightPlace, ...]
    memory_map: tuple[tuple[str, int, int], ...]
    end: int
    accumulator_bytes: int


def place_on_chip(
    graph: OperatorGraph, cost: GroupCost, weight_bytes: Sequence[Sequence[int]], alignment: int = 1
) -> OnChipPlaces:
    """Places one after another at multiples of ``alignment`` bytes, with the line counts of ``cost``.

    ``weight_bytes[i]`` are the sizes of the weights of operator ``i`` of ``graph``, which is the group alone.
    """
    return _Placing(graph, cost, alignment).places(weight_bytes)


class _Placing:
    def __init__(self, graph: OperatorGraph, cost: GroupCost, alignment: int) -> None:
        self.graph = graph
        self.lines = {buffer.tensor: buffer.lines for buffer in cost.buffers}
        self.alignment = alignment
        self.end = 0
        self.accumulator_bytes = 0
        self.map: list[tuple[str, int, int]] = []

    def places(self, weight_bytes: Sequence[Sequence[int]]) -> OnChipPlaces:
        graph = self.graph
        rows: dict[int, RowPlace] = {}
        for i, home in row_homes(graph, self.lines).items():
            tensor = graph.tensor(i)
            row_bytes = bytes_of(tensor.row_elements, dtype_bits(tensor.dtype))
            if home.owner != i:
                rows[i] = replace(rows[home.owner], operand=i)
            elif home.beside:
                rows[i] = RowPlace(i, ACCUMULATOR, self._aligned(self.accumulator_bytes), 1, row_bytes)
                self.accumulator_bytes = rows[i].address + row_bytes
            else:
                address = self._take(home.name, home.lines * row_bytes)
                rows[i] = RowPlace(i, BUFFER, address, home.lines, row_bytes)
        weights = [
            WeightPlace(i, k, self._take(f"weight_{i}_{k}", size), size)
            for i, sizes in enumerate(weight_bytes)
            for k, size in enumerate(sizes)
        ]
        ordered = tuple(rows[i] for i in sorted(rows))
        return OnChipPlaces(ordered, tuple(weights), tuple(self.map), self.end, self.accumulator_bytes)

    def _take(self, name: str, size: int) -> int:
        address = self._aligned(self.end)
        self.map.append((name, address, size))
        self.end = address + size
        return address

    def _aligned(self, address: int) -> int:
        return -(-address // self.alignment) * self.alignment
