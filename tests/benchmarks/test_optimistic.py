"""Optimistic models are below what the schemes of their kind reach, on any group."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmarks import ladder, optimistic
from tests.search.networks import parallel_chains
from tests.strategies import accelerators, group_masks, operator_graphs
from tvm_fusion.cost_models.schemes import registry
from tvm_fusion.cost_models.schemes.bands import BandsOfRows
from tvm_fusion.cost_models.schemes.base import Scheme
from tvm_fusion.cost_models.schemes.channel_streaming import ChannelStreaming
from tvm_fusion.cost_models.sizes import Sizes
from tvm_fusion.graph import graph_to_json
from tvm_fusion.reports.record import Record


@pytest.mark.parametrize(("granted", "real"), [
    (optimistic.FreeHalo, BandsOfRows), (optimistic.FreeBands, ChannelStreaming),
])  # fmt: skip
@settings(max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_grants_at_least_what_is_real(granted: type[Scheme], real: type[Scheme], data: st.DataObject) -> None:
    graph, accelerator = data.draw(operator_graphs()), data.draw(accelerators())
    mask, sizes = data.draw(group_masks(graph)), Sizes(graph, accelerator)
    found, known = granted(graph, accelerator, sizes).fit(mask), real(graph, accelerator, sizes).fit(mask)
    assert found is not None
    if known is not None and known.valid:
        assert found.valid
        assert found.dram_bytes <= known.dram_bytes
    assert found.dram_bytes >= sum(sizes.boundary_bytes(mask)) + sizes.weights(mask)


@pytest.fixture
def registered() -> Iterator[None]:
    """Only this test may know these schemes: "auto" would take them."""
    yield
    registry.foreign_schemes.cache_clear()


@pytest.mark.usefixtures("registered")
def test_the_page_says_what_was_granted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    net = tmp_path / "chains.json"
    net.write_text(json.dumps(graph_to_json(parallel_chains(3, 4))))
    place, folder = f"{net}=2000", tmp_path / "results"
    assert optimistic.main(place, again=False, output=folder) == 0
    rows = json.loads((folder / ladder.OPTIMISTIC).read_text())["rows"]
    assert [row["granted"] for row in rows] == [list(granted) for granted in optimistic.MODELS]
    assert all(row["optimal"] and row["dram_bytes"] <= rows[0]["dram_bytes"] for row in rows)
    capsys.readouterr()
    assert optimistic.main(place, again=False, output=folder) == 0
    assert not capsys.readouterr().out
    graph = parallel_chains(3, 4)
    ladder_rows = [ladder.unfused(graph, str(net), "2000"), ladder.measure(graph, str(net), "2000", ladder.STEPS[0])]
    Record(folder / ladder.FILE).add(rows=ladder_rows, fronts=[])
    text = "\n".join(ladder.page(folder))
    assert f"{rows[3]['dram_bytes'] / 1e6:.3f} MB with channel streaming in bands that need no halo" in text
