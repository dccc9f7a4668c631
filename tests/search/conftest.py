"""Shared by the tests of the searches."""

from __future__ import annotations

import pytest

from tests.search.networks import efficientnet_b3
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.oracle import Oracle
from tvm_fusion.graph import OperatorGraph


@pytest.fixture(scope="session")
def b3_start() -> OperatorGraph:
    """The first three stages of EfficientNet-B3 at 300 x 300."""
    return efficientnet_b3(stages=3)


@pytest.fixture(scope="session")
def b3_start_oracle(b3_start: OperatorGraph) -> Oracle:
    """At 256 KiB; shared, as it only caches."""
    return Oracle(b3_start, Accelerator())
