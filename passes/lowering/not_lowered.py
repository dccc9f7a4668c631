"""NotLowered: why a group stays with TVM's own lowering."""

from __future__ import annotations


class NotLowered(Exception):  # noqa: N818 (it is no fault of the user's)
    """Raised inside the lowering of a group; ``operator`` names the operator that the rules do not cover."""

    def __init__(self, operator: str, reason: str) -> None:
        super().__init__(f"operator {operator!r}: {reason}" if operator else reason)
        self.operator = operator
        self.reason = reason


class LoweringWarning(UserWarning):
    """A group that no lowering of ours covers; TVM's own takes it."""
