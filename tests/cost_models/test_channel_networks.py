"""Channel streaming on groups of real networks: what is chosen, and the simulator's figures for it."""

from __future__ import annotations

import numpy as np
import pytest

from tvm_fusion.cli import session
from tvm_fusion.cost_models.accelerator import Accelerator
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming

BUFFERS = (16, 64, 256)  # KiB


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["efficientnet_b0@64", "mobilenetv2_100@64", "resnet18@64", "densenet121@64", "convnext_atto@64"]
)
def test_random_stretches(name: str) -> None:
    """Stretches of up to 24 operators in the order of execution, connected or not."""
    pytest.importorskip("timm")
    graph = session.load_graph(name, 1, verbose=False)
    schemes = [ChannelStreaming(graph, Accelerator(buffer_bytes=kib * 1024)) for kib in BUFFERS]
    rng = np.random.default_rng(0)
    valid = several = 0
    for _ in range(120):
        first, count = int(rng.integers(len(graph))), int(rng.integers(1, 25))
        mask = ((1 << count) - 1 << first) & ((1 << len(graph)) - 1)
        scheme = schemes[int(rng.integers(len(schemes)))]
        cost, fit = scheme.cost(mask), scheme.fit(mask)
        slow = scheme.simulate(cost)
        assert (slow.buffer_bytes, slow.buffers) == (cost.buffer_bytes, cost.buffers)
        assert (slow.input_bytes, slow.output_bytes, slow.weight_bytes) == (
            cost.input_bytes,
            cost.output_bytes,
            cost.weight_bytes,
        )
        assert cost.valid == fit.valid
        if fit.valid:
            assert fit == (True, cost.dram_bytes, cost.buffer_bytes, cost.recomputed_macs)
        assert scheme.growth_bound_bytes(mask) <= cost.buffer_bytes
        valid += cost.valid
        several += len(cost.parameters["phases"]) > 1
    assert min(valid, several) > 20
