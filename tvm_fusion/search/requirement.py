"""Requirement: what every group that holds certain operators needs on chip, as linear inequalities."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from tvm_fusion.search.group_programme import GroupProgramme, Term


class Requirement(Protocol):
    """Sound for every scheme that may execute a group of several operators; the tighter, the better the bound.

    An operator alone always executes, so nothing here speaks of it. Figures hold whatever else is in the group: a
    group may need less than a part of it, so what one group needs says nothing about a larger one.
    """

    def added_bytes(self, i: int) -> int:
        """Bytes that operator ``i`` has for itself in every group of several operators that holds it: they add up."""

    def needed_bytes(self, i: int) -> int:
        """Bytes that every group of several operators needs that holds ``i``; above the buffer, ``i`` stands alone."""

    def add_to(self, programme: GroupProgramme) -> list[Term]:
        """Add variables and inequalities; the terms returned sum to at most 1, the buffer, in a group that fits."""
