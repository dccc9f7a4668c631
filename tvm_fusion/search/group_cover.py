"""The cheapest plan that known groups make."""

from __future__ import annotations

import time
from collections.abc import Sequence

import networkx as nx
import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import csc_array, csr_array, vstack

from tvm_fusion.graph.graph import members
from tvm_fusion.quiet import captured_stdout
from tvm_fusion.search.problem import FusionProblem, Partition

NODE_LIMIT = 50
CYCLES = 10  # solutions with a cycle among their groups, before it is given up


def cheapest_cover(
    problem: FusionProblem,
    groups: Sequence[int],
    dram_bytes: Sequence[int],
    below: int,
    seconds: float | None = None,
) -> Partition | None:
    """A plan of ``groups`` (valid masks, with their bytes) that moves less than ``below`` bytes; None if none is found.

    An integer programme with a limit of nodes: deterministic, unless ``seconds`` end it.
    """
    until = None if seconds is None else time.perf_counter() + seconds
    rows = [i for mask in groups for i in members(mask)]
    starts = np.cumsum([0, *(mask.bit_count() for mask in groups)])
    once = csc_array((np.ones(len(rows)), rows, starts), shape=(problem.size, len(groups)))
    forbidden: list[list[int]] = []
    for _ in range(CYCLES):
        matrix = once
        upper = np.ones(problem.size + len(forbidden))
        for number, cycle in enumerate(forbidden):
            values = np.ones(len(cycle))
            row = csr_array((values, ([0] * len(cycle), cycle)), shape=(1, len(groups)))
            matrix = vstack([matrix, row], format="csc")
            upper[problem.size + number] = len(cycle) - 1
        options: dict[str, float] = {"node_limit": NODE_LIMIT}
        if until is not None:
            options["time_limit"] = max(0.1, until - time.perf_counter())
        lower = np.concatenate([np.ones(problem.size), np.zeros(len(forbidden))])
        with captured_stdout():
            found = milp(
                np.array(dram_bytes, dtype=float),
                constraints=LinearConstraint(matrix, lower, upper),
                integrality=np.ones(len(groups)),
                bounds=Bounds(0, 1),
                options=options,
            )
        if found.x is None:
            return None
        chosen = [k for k, taken in enumerate(found.x) if taken > 0.5]
        masks = [groups[k] for k in chosen]
        if problem.plan_value(masks) >= below:
            return None
        ordered = problem.ordered(masks)
        if ordered is not None:
            return ordered
        forbidden += [[chosen[k] for k in cycle] for cycle in _cycles(problem, masks)]
    return None


def _cycles(problem: FusionProblem, masks: list[int]) -> list[list[int]]:
    """A shortest-found cycle of each set of groups that reach each other, as positions in ``masks``."""
    owner = problem.owners(tuple(masks))
    quotient = nx.DiGraph()
    for producer, consumer in problem.graph.edges:
        if owner[producer] != owner[consumer]:
            quotient.add_edge(owner[producer], owner[consumer])
    parts = [part for part in nx.strongly_connected_components(quotient) if len(part) > 1]
    return [[edge[0] for edge in nx.find_cycle(quotient.subgraph(part))] for part in parts]
