"""met_groups: distinct groups that a random search meets, with what they need on chip."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.schemes.registry import scheme_class
from tvm_fusion.errors import ExplainerError
from tvm_fusion.explainers.structure import structure_key
from tvm_fusion.graph.graph import OperatorGraph
from tvm_fusion.search.problem import FusionProblem
from tvm_fusion.search.random_plan import random_plan
from tvm_fusion.search.random_split import RandomSplit
from tvm_fusion.search.split import repair

BUFFERS_BYTES = tuple(size * 1024 for size in (128, 256, 512, 1024, 2048))
BITS = 8


@dataclass(frozen=True, slots=True)
class MetGroup:
    """A group (mask) of one network, its structure key and its exact F_B at 8 bits in the scheme that was asked for."""

    mask: int
    structure: str
    requirement_bytes: int


def met_groups(
    graph: OperatorGraph, plans: int, seed: int, most_in_a_class: int, seen: set[str], scheme: str = "lbdf"
) -> Iterator[MetGroup]:
    """Groups of ``plans`` random plans, and the parts met while invalid groups of them are split at random.

    A group is invalid that exceeds the buffer in ``scheme``, where it is not a single operator. The buffer that
    decides what is split goes round BUFFERS_BYTES. A structure in ``seen`` is left out; new ones are added to it. So
    that groups of all sizes of requirement are there, at most ``most_in_a_class`` are taken of each class: below
    64 KiB, then one class a doubling, and 4 MiB and more. The same seed gives the same groups.
    Raises ExplainerError for a scheme that does not execute every group.
    """
    rng = np.random.default_rng([seed, int(graph.fingerprint[-8:], 16)])
    model = _model(graph, scheme)
    needed_bytes: dict[int, int] = {}
    problems = [_Recording(graph, size, model, needed_bytes) for size in BUFFERS_BYTES]
    taken: Counter[int] = Counter()
    known: set[int] = set()
    for number in range(plans):
        problem = problems[number % len(problems)]
        repair(problem, random_plan(problem, rng), RandomSplit(), rng)
        for mask in problem.met:
            if mask in known:
                continue
            known.add(mask)
            needed = needed_bytes[mask]
            if taken[_class(needed)] >= most_in_a_class:
                continue
            structure = structure_key(graph, mask)
            if structure not in seen:
                seen.add(structure)
                taken[_class(needed)] += 1
                yield MetGroup(mask, structure, needed)
        problem.met.clear()


def _class(requirement_bytes: int) -> int:
    return min(7, max(0, (requirement_bytes // (64 * 1024)).bit_length()))


def _model(graph: OperatorGraph, scheme: str) -> Scheme:
    # A requirement does not depend on the buffer.
    return scheme_class(scheme)(graph, _accelerator(BUFFERS_BYTES[0]))


def _accelerator(buffer_bytes: int) -> Accelerator:
    return Accelerator(buffer_bytes=buffer_bytes, activation_bits=BITS, weight_bits=BITS)


class _Recording(FusionProblem):
    """Remembers every group that is asked about, in order; asks the scheme for nothing but requirements."""

    def __init__(self, graph: OperatorGraph, buffer_bytes: int, model: Scheme, needed_bytes: dict[int, int]) -> None:
        super().__init__(graph, Oracle(graph, _accelerator(buffer_bytes)))
        self.met: dict[int, None] = {}
        self._model = model
        self._needed_bytes = needed_bytes

    def valid(self, mask: int) -> bool:
        """See :class:`FusionProblem`."""
        self.met[mask] = None
        needed = self._needed_bytes.get(mask)
        if needed is None:
            found = self._model.requirement_bytes(mask)
            if found is None:
                name, count = self._model.name, mask.bit_count()
                raise ExplainerError(f"scheme {name!r} refuses groups (one of {count} operators): it cannot be learned")
            needed = self._needed_bytes[mask] = found
        return not mask & (mask - 1) or needed <= self.buffer_bytes
