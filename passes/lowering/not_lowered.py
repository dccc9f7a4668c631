"""NotLowered: why a group stays with TVM's own lowering, and how a caller is told."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any


class NotLowered(Exception):  # noqa: N818 (it is no fault of the user's)
    """Raised inside the lowering of a group; ``operator`` names the operator that the rules do not cover."""

    def __init__(self, operator: str, reason: str) -> None:
        super().__init__(f"operator {operator!r}: {reason}" if operator else reason)
        self.operator = operator
        self.reason = reason


class LoweringWarning(UserWarning):
    """A group that no lowering of ours covers; TVM's own takes it. ``function`` is the group's, ``reason`` one line."""

    def __init__(self, function: str, reason: str) -> None:
        super().__init__(f"{function} is left to TVM's own lowering: {reason}")
        self.function = function
        self.reason = reason


@contextlib.contextmanager
def collected_lowering_warnings() -> Iterator[list[LoweringWarning]]:
    """Collect every LoweringWarning instead of showing it; other warnings go where they always go.

    Not for several threads at once, as ``warnings.catch_warnings``.
    """
    found: list[LoweringWarning] = []
    with warnings.catch_warnings():
        warnings.simplefilter("always", LoweringWarning)
        show = warnings.showwarning

        def collect(message: Warning | str, *rest: Any, **more: Any) -> None:
            if isinstance(message, LoweringWarning):
                found.append(message)
            else:
                show(message, *rest, **more)

        warnings.showwarning = collect
        yield found
