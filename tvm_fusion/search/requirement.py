"""Requirement: what every group that holds certain operators needs on chip, as linear inequalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tvm_fusion.search.group_programme import GroupProgramme


class Requirement(Protocol):
    """Sound for every group of several operators that a scheme (or one of several) executes; the tighter, the better.

    An operator alone always executes, so nothing here speaks of it. Figures hold whatever else is in the group: a
    group may need less than a part of it, so what one group needs says nothing about a larger one.
    """

    def added_bytes(self, i: int) -> int:
        """Bytes that operator ``i`` has for itself in every group of several operators that holds it: they add up."""

    def needed_bytes(self, i: int) -> int:
        """Bytes that every group of several operators needs that holds ``i``; above the buffer, ``i`` stands alone."""

    def ways(self, programme: GroupProgramme) -> list[int]:
        """Add a variable for each way to execute the group (1: it is taken), and the inequalities that follow."""
