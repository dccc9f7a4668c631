"""Termination: when a search ends."""

from __future__ import annotations

import time
from collections.abc import Callable

from tvm_fusion.errors import SearchError


class Termination:
    """Counts proposed plans against ``budget_plans`` and seconds against ``time_limit_seconds``.

    ``clock`` (by default that of the machine) starts when it is made. Raises SearchError for a budget below 1 or a
    limit that is no positive number of seconds.
    """

    def __init__(
        self,
        budget_plans: int,
        time_limit_seconds: float | None = None,
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        if isinstance(budget_plans, bool) or not isinstance(budget_plans, int) or budget_plans < 1:
            raise SearchError(f"budget {budget_plans!r} is not allowed; it must be at least 1 plan")
        if time_limit_seconds is not None and not time_limit_seconds > 0:  # also refuses NaN
            raise SearchError(f"time limit {time_limit_seconds!r} is not allowed; it must be more than 0 seconds")
        self.budget_plans = budget_plans
        self.time_limit_seconds = time_limit_seconds
        self.proposed = 0
        self._clock = clock
        self._start = clock()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return self._clock() - self._start

    @property
    def left(self) -> int:
        """Plans that may still be proposed."""
        return self.budget_plans - self.proposed

    def out_of_time(self) -> bool:
        """Whether the time limit has passed."""
        return self.time_limit_seconds is not None and self.seconds >= self.time_limit_seconds
