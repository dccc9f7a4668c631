"""Algorithm: the ask/tell interface of every search."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tvm_fusion.search.problem import FusionProblem, Partition
from tvm_fusion.search.split import Splitter


def never() -> bool:
    """A search without a time limit never has to stop."""
    return False


class Algorithm(ABC):
    """Proposes complete, valid partitions when asked and learns their cost when told.

    ``rng`` is the only source of chance; ``splitter`` repairs invalid groups; ``stop`` is asked
    inside long computations and turns true at the time limit. ``finished`` ends the search before
    its budget; ``optimal``, ``at_least`` (no plan has a lower value) and ``certificate`` say what has been proven by
    then.
    """

    def __init__(
        self,
        problem: FusionProblem,
        rng: np.random.Generator,
        splitter: Splitter,
        stop: Callable[[], bool] = never,
    ) -> None:
        self.problem = problem
        self.rng = rng
        self.splitter = splitter
        self.stop = stop
        self.finished = False
        self.optimal = False
        self.at_least = 0
        self.certificate: dict[str, Any] = {}

    @abstractmethod
    def ask(self, limit: int) -> Sequence[Partition]:
        """Between 1 and ``limit`` partitions (each counts as one plan), or none when there is nothing more to try."""

    def tell(self, partitions: Sequence[Partition], values: Sequence[int]) -> None:  # noqa: B027
        """The objective's values of the partitions asked last, in the same order."""
