"""Scheme: one way to execute a fusion group, as searches, plans and reports ask for it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.scheme import GroupCost
from tvm_fusion.cost_models.simulator import SimulationResult
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph.graph import OperatorGraph


class Fit(NamedTuple):
    """What a search must know of a group in one scheme.

    Of a group that does not fit, ``buffer_bytes`` may be a bound above the buffer that settled it.
    """

    valid: bool
    dram_bytes: int
    buffer_bytes: int
    recomputed_macs: int = 0


class Scheme(ABC):
    """Executes groups of ``graph`` on ``accelerator``.

    ``recompute``: whether arithmetic may be executed again to save traffic. A scheme that lives from it refuses every
    group without it; halo rows of bands are no such choice. ``tests/cost_models/schemes`` holds every registered scheme
    to its promises: the fast form is equal to the simulator, no requirement is negative, nothing moves less than its
    compulsory traffic. Refusing a group is allowed.
    """

    name: ClassVar[str]
    recomputes: ClassVar[bool] = False  # whether ``recompute`` changes what it does
    recomputes_by_choice: ClassVar[bool] = False  # whether it executes some groups without it too
    # Whether of a group that fits every part that holds all it reads in it fits, and moves no more beyond the least:
    # what does not fit need not grow.
    fits_by_parts: ClassVar[bool] = False
    # Of a group that fits, the part behind a bottleneck p (tvm_fusion.graph.bottlenecks), with p as a source, fits too.
    # In every scheme growth_bound_bytes of that part holds for the group.
    fits_behind_cuts: ClassVar[bool] = False
    exact_choice: ClassVar[bool] = True  # whether cost() tries, or rules out, every choice of parameters

    def __init__(
        self, graph: OperatorGraph, accelerator: Accelerator, sizes: Sizes | None = None, recompute: bool = True
    ) -> None:
        self.graph = graph
        self.accelerator = accelerator
        self.sizes = sizes or Sizes(graph, accelerator)
        self.recompute = recompute

    @abstractmethod
    def cost(self, mask: int, parameters: Mapping[str, Any] | None = None) -> GroupCost | None:
        """The report of a group; None if the scheme cannot execute it.

        ``parameters`` are a choice as a report carries it. Without them the one that moves the fewest DRAM bytes of
        those that fit the buffer or, where none fits, one that needs little of it, with ``valid`` false. Raises
        CostModelError for parameters that are none of the group.
        """

    @abstractmethod
    def simulate(self, cost: GroupCost, keep_timeline: bool = False) -> SimulationResult:
        """Execute a group as ``cost`` says, event by event."""

    def fit(self, mask: int) -> Fit | None:
        """What :meth:`cost` without parameters says, in brief; None if the scheme cannot execute the group."""
        cost = self.cost(mask)
        return None if cost is None else Fit(cost.valid, cost.dram_bytes, cost.buffer_bytes, cost.recomputed_macs)

    def requirement_bytes(self, mask: int) -> int | None:
        """F_B: bytes on chip that the group needs at least, whether it fits or not; None if the scheme refuses it.

        Never above the buffer where :meth:`fit` is valid, always above it where not. By default what :meth:`cost`
        reports, which of a group that fits may be more than another choice of parameters needs.
        """
        cost = self.cost(mask)
        return None if cost is None else cost.buffer_bytes

    def growth_bound_bytes(self, mask: int) -> int:  # noqa: ARG002 - the interface gives it to those that know more
        """Bytes that the group, and every group that it grows into by operators it does not read, needs at least."""
        return 0

    def growth_extra_bytes(self, mask: int) -> int:  # noqa: ARG002 - the interface gives it to those that know more
        """DRAM bytes beyond inputs, outputs and weights, once each, that the group and all it grows into move at least.

        Asked only where :meth:`growth_bound_bytes` fits the buffer.
        """
        return 0
