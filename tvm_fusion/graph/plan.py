"""PartitionPlan: disjoint, connected groups that cover a graph with no cycle among them."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from tvm_fusion.errors import PlanError
from tvm_fusion.graph.graph import OperatorGraph, mask_of, members


@dataclass(frozen=True, slots=True)
class Group:
    """Operators (ascending ids) that execute together, their scheme, and what that chose itself (JSON)."""

    operators: tuple[int, ...]
    scheme: str | None = None
    parameters: dict[str, Any] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class PartitionPlan:
    """Groups in an order in which they can execute. ``metadata`` is what a saved plan carries."""

    groups: tuple[Group, ...]
    metadata: dict[str, Any] = field(default_factory=dict, compare=False, hash=False)

    @cached_property
    def masks(self) -> tuple[int, ...]:
        """One mask of operator ids for each group."""
        return tuple(mask_of(group.operators) for group in self.groups)

    @classmethod
    def from_masks(cls, graph: OperatorGraph, masks: Iterable[int], **metadata: Any) -> PartitionPlan:
        """Groups of ``masks`` in topological order. Raises PlanError unless they are a plan."""
        plan = cls(tuple(Group(tuple(members(mask))) for mask in masks), metadata)
        check_plan(graph, plan)
        order = group_order(graph, plan.masks)
        assert order is not None
        return cls(tuple(plan.groups[k] for k in order), metadata)


def check_plan(graph: OperatorGraph, plan: PartitionPlan) -> None:
    """Raise PlanError naming the operator and the reason unless ``plan`` partitions ``graph``."""
    owner: dict[int, int] = {}
    for number, group in enumerate(plan.groups):
        if not group.operators:
            raise PlanError(f"group {number} is empty; every group has at least one operator")
        for operator in group.operators:
            if not 0 <= operator < len(graph):
                raise PlanError(f"group {number} names operator {operator}; the graph has 0 .. {len(graph) - 1}")
            if operator in owner:
                raise PlanError(
                    f"operator {operator} ({graph.operators[operator].name!r}) stands in groups "
                    f"{owner[operator]} and {number}; each operator belongs to exactly one group"
                )
            owner[operator] = number
    for operator_facts in graph.operators:
        if operator_facts.id not in owner:
            raise PlanError(f"operator {operator_facts.id} ({operator_facts.name!r}) is in no group")
    for number, mask in enumerate(plan.masks):
        parts = graph.components(mask)
        if len(parts) > 1:
            stray = next(members(parts[1]))
            raise PlanError(
                f"group {number} is not connected: operator {stray} ({graph.operators[stray].name!r}) "
                f"shares no edge with operator {next(members(parts[0]))} inside the group"
            )
    if group_order(graph, plan.masks) is None:
        number = _group_in_cycle(graph, plan.masks)
        first = plan.groups[number].operators[0]
        raise PlanError(
            f"group {number} (operator {first}, {graph.operators[first].name!r}) lies on a cycle: "
            "it needs a result of another group that itself needs one of this group"
        )


def group_order(graph: OperatorGraph, masks: Iterable[int]) -> list[int] | None:
    """Positions of the groups in topological order (lowest operator first), or None for a cycle."""
    masks = list(masks)
    readers, waiting = _quotient(graph, masks)
    ready = [((masks[k] & -masks[k]).bit_length(), k) for k in range(len(masks)) if waiting[k] == 0]
    heapq.heapify(ready)
    order = []
    while ready:
        _, k = heapq.heappop(ready)
        order.append(k)
        for reader in readers[k]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                heapq.heappush(ready, ((masks[reader] & -masks[reader]).bit_length(), reader))
    return order if len(order) == len(masks) else None


def _quotient(graph: OperatorGraph, masks: list[int]) -> tuple[list[list[int]], list[int]]:
    owner = {i: k for k, mask in enumerate(masks) for i in members(mask)}
    readers: list[set[int]] = [set() for _ in masks]
    for producer, consumer in graph.edges:
        if owner[producer] != owner[consumer]:
            readers[owner[producer]].add(owner[consumer])
    waiting = [0] * len(masks)
    for group_readers in readers:
        for reader in group_readers:
            waiting[reader] += 1
    return [sorted(group_readers) for group_readers in readers], waiting


def _group_in_cycle(graph: OperatorGraph, masks: Iterable[int]) -> int:
    """A group on a cycle: following unordered predecessors must come back to one."""
    masks = list(masks)
    readers, waiting = _quotient(graph, masks)
    free = [k for k in range(len(masks)) if waiting[k] == 0]
    while free:
        for reader in readers[free.pop()]:
            waiting[reader] -= 1
            if waiting[reader] == 0:
                free.append(reader)
    writers: dict[int, int] = {}
    for k, group_readers in enumerate(readers):
        if waiting[k]:
            writers.update(dict.fromkeys(group_readers, k))
    k, seen = next(k for k in range(len(masks)) if waiting[k]), set()
    while k not in seen:
        seen.add(k)
        k = writers[k]
    return k
