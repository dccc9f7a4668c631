"""A small dataset that all tests of the classifier share."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from tests.graphs import residual_block
from tests.search.networks import efficientnet_b3
from tvm_fusion.graph import OperatorGraph

# What is tested here needs the extra "zoo".
collect_ignore_glob = [] if find_spec("torch_geometric") else ["test_*.py"]


@pytest.fixture(scope="session")
def graphs() -> list[OperatorGraph]:
    """Two small networks of different names."""
    block = residual_block(6)
    stages = efficientnet_b3(64, stages=3)
    return [
        OperatorGraph("block", block.inputs, block.operators, block.outputs),
        OperatorGraph("stages", stages.inputs, stages.operators, stages.outputs),
    ]
