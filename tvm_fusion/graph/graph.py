"""OperatorGraph: the immutable network that cost models and searches work on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import compress, count

from tvm_fusion.errors import GraphError
from tvm_fusion.graph.operator import Operator, Tensor


@dataclass(frozen=True)
class OperatorGraph:
    """Operators in topological order (id = position), the network's inputs and its outputs.

    A *mask* is a Python integer whose bit i stands for operator i: the form in which groups are
    hashed and combined. Raises GraphError when ids, operands, demands or outputs contradict.
    """

    name: str
    inputs: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    outputs: tuple[int, ...]
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        from tvm_fusion.graph.check import check_graph

        check_graph(self)

    def __len__(self) -> int:
        return len(self.operators)

    @property
    def batch(self) -> int:
        """Images that run one after another."""
        return self.operators[0].batch if self.operators else 1

    def tensor(self, operand: int) -> Tensor:
        """The tensor of an operand id: operator (>= 0) or network input (< 0)."""
        return self.operators[operand] if operand >= 0 else self.inputs[-operand - 1]

    @cached_property
    def consumers(self) -> dict[int, tuple[int, ...]]:
        """Ids of the operators that read each tensor, ascending; network inputs included."""
        table: dict[int, list[int]] = {-(k + 1): [] for k in range(len(self.inputs))}
        table.update({operator.id: [] for operator in self.operators})
        for operator in self.operators:
            for operand in operator.inputs:
                table[operand].append(operator.id)
        return {key: tuple(value) for key, value in table.items()}

    @cached_property
    def predecessor_masks(self) -> tuple[int, ...]:
        """Mask of the operators that each operator reads directly."""
        return tuple(sum(1 << operand for operand in set(op.inputs) if operand >= 0) for op in self.operators)

    @cached_property
    def successor_masks(self) -> tuple[int, ...]:
        """Mask of the operators that read each operator directly."""
        return tuple(sum(1 << c for c in set(self.consumers[op.id])) for op in self.operators)

    @cached_property
    def neighbour_masks(self) -> tuple[int, ...]:
        """Mask of the operators that each operator reads, or that read it."""
        return tuple(a | b for a, b in zip(self.predecessor_masks, self.successor_masks, strict=True))

    @cached_property
    def ancestor_masks(self) -> tuple[int, ...]:
        """Mask of all operators that each operator depends on."""
        found: list[int] = []
        for direct in self.predecessor_masks:
            every = direct
            for i in members(direct):
                every |= found[i]
            found.append(every)
        return tuple(found)

    @cached_property
    def descendant_masks(self) -> tuple[int, ...]:
        """Mask of all operators that depend on each operator."""
        found = [0] * len(self.operators)
        for i in reversed(range(len(found))):
            direct = self.successor_masks[i]
            for c in members(direct):
                direct |= found[c]
            found[i] = direct
        return tuple(found)

    @cached_property
    def output_mask(self) -> int:
        """Mask of the operators whose tensor is an output of the network."""
        return mask_of(self.outputs)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """(producer, consumer) for every pair of operators, ascending by consumer."""
        return tuple((i, op.id) for op in self.operators for i in op.inputs if i >= 0)

    def is_connected(self, mask: int) -> bool:
        """Whether the operators of ``mask`` are weakly connected among themselves."""
        return mask != 0 and self.component(mask, mask & -mask) == mask

    def component(self, mask: int, seed: int) -> int:
        """The part of ``mask`` that is weakly connected with ``seed`` (a mask inside it)."""
        return reachable(self.neighbour_masks, mask, seed)

    def components(self, mask: int) -> list[int]:
        """Weakly connected parts of ``mask``, by their lowest operator."""
        parts = []
        while mask:
            part = self.component(mask, mask & -mask)
            parts.append(part)
            mask &= ~part
        return parts

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over everything that costs depend on; names and warnings are left out."""
        from tvm_fusion.graph.graph_io import operator_to_json, tensor_to_json

        inputs = [tensor_to_json(tensor) for tensor in self.inputs]
        operators = [operator_to_json(operator) for operator in self.operators]
        data = {"inputs": inputs, "operators": operators, "outputs": self.outputs}
        for entry in (*inputs, *operators):
            entry.pop("name")
            entry.pop("attributes", None)
        text = json.dumps(data, sort_keys=True, separators=(",", ":"))
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def reachable(neighbours: tuple[int, ...], mask: int, seed: int) -> int:
    """``seed`` (a mask) and what is reached from it inside ``mask``, going to ``neighbours``."""
    left, waiting = mask & ~seed, seed
    while waiting:
        low = waiting & -waiting
        new = neighbours[low.bit_length() - 1] & left
        left ^= new
        waiting ^= low | new
    return mask & ~left | seed


def members(mask: int) -> Iterator[int]:
    """Operator ids of a mask, ascending."""
    first = (mask & -mask).bit_length() - 1
    if mask.bit_length() - first > _SCATTERED * mask.bit_count():
        return _one_by_one(mask)
    return compress(count(first), bin(mask >> first)[:1:-1].encode().translate(_TRUTH))


# Ids so far apart that it is quicker to go from one to the next than through all digits between.
_SCATTERED = 6
_TRUTH = bytes.maketrans(b"01", b"\0\1")


def _one_by_one(mask: int) -> Iterator[int]:
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low


def demand_order(operand: int) -> tuple[bool, int]:
    """Sort key of operands: the network's inputs (-1, -2, ..) in their order, then operators ascending."""
    return operand >= 0, abs(operand)


def mask_of(operators: Iterable[int]) -> int:
    """Mask of operator ids; negative ones (network inputs) are refused."""
    mask = 0
    for i in operators:
        if i < 0:
            raise GraphError(f"operator id {i} is negative; ids count from 0")
        mask |= 1 << i
    return mask
