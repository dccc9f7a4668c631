"""AnyRequirement: what a group needs that may execute in any of several ways."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from tvm_fusion.search.requirement import Requirement

if TYPE_CHECKING:
    from tvm_fusion.search.group_programme import GroupProgramme


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

    def ways(self, programme: GroupProgramme) -> list[int]:
        """Those of all."""
        return [way for requirement in self._requirements for way in requirement.ways(programme)]
