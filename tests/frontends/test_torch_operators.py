"""Converters of our own for torch operators."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.frontends.running import assert_close, noise, outputs_of
from tvm_fusion import load_network

torch = pytest.importorskip("torch")

FUNCTIONS: list[Callable[[Any], Any]] = [
    lambda x: torch.amax(x, (2, 3)),
    lambda x: torch.amax(x, 1, keepdim=True),
    lambda x: torch.amin(x, dim=-1),
    torch.amax,
    lambda x: torch.div(x * 9, 2, rounding_mode="floor"),
    lambda x: torch.div(x * 9, 2, rounding_mode="trunc"),
    lambda x: torch.div(x * 9, x[:, :1] + 0.5, rounding_mode="floor"),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_results_equal_torch_s(tmp_path: Path, function: Callable[[Any], Any]) -> None:
    class Net(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return function(x)

    x = noise(2, 3, 4, 5)
    path = tmp_path / "net.pt2"
    torch.export.save(torch.export.export(Net(), (torch.from_numpy(x),)), str(path))
    assert_close(outputs_of(load_network(path), [x]), [function(torch.from_numpy(x)).numpy()])
