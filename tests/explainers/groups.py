"""Groups that the tests of the explainers share."""

from __future__ import annotations

from functools import cache

from tests.search.networks import efficientnet_b3
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle


@cache
def small_oracle() -> Oracle:
    """The first two stages of EfficientNet-B3 at 300 x 300, at 192 KiB."""
    return Oracle(efficientnet_b3(stages=2), Accelerator(buffer_bytes=192 * 1024))


@cache
def invalid_groups() -> list[int]:
    """Connected, convex groups of 2 to 20 operators that exceed the buffer of :func:`small_oracle`."""
    oracle = small_oracle()
    graph = oracle.graph
    windows = [((1 << size) - 1) << first for size in (2, 5, 9, 20) for first in range(0, len(graph) - size + 1, 3)]
    found = [m for m in windows if graph.is_connected(m) and not oracle.evaluate(m)[0]]
    assert len(found) >= 8
    return found
