"""AnyRequirement: what a group needs that may execute in any of several ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tvm_fusion.search.requirement import Requirement

if TYPE_CHECKING:
    from tvm_fusion.search.group_programme import GroupProgramme, Term


class AnyRequirement:
    """Fulfilled if one of ``requirements`` is: itself a :class:`~tvm_fusion.search.requirement.Requirement`."""

    def __init__(self, requirements: Sequence[Requirement]) -> None:
        self._requirements = tuple(requirements)

    def added_bytes(self, i: int) -> int:
        """The least of all."""
        return min(requirement.added_bytes(i) for requirement in self._requirements)

    def needed_bytes(self, i: int) -> int:
        """The least of all."""
        return min(requirement.needed_bytes(i) for requirement in self._requirements)

    def add_to(self, programme: GroupProgramme) -> list[Term]:
        """A variable for each way, one of which is taken; of the others nothing is asked."""
        ways = []
        for requirement in self._requirements:
            way = programme.variable(whole=True)
            ways.append(way)
            terms = requirement.add_to(programme)
            most = sum(value * programme.upper(variable) for variable, value in terms)
            if most > 1:
                # sum(terms) <= 1 + (most - 1) * (1 - way)
                programme.at_least([*((variable, -value) for variable, value in terms), (way, 1 - most)], -most)
        programme.at_least([(way, 1.0) for way in ways], 1)
        return []
