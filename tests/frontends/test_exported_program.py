"""Files that torch.export.save writes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.frontends.running import assert_close, noise, outputs_of
from tvm_fusion import load_graph, load_network
from tvm_fusion.errors import FrontendError

torch = pytest.importorskip("torch")
Dim = torch.export.Dim


class Small(torch.nn.Module):  # type: ignore[misc, name-defined]
    """conv3x3 -> batch norm -> relu -> mean -> dense."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = torch.nn.Conv2d(3, 8, 3, padding=1)
        self.norm = torch.nn.BatchNorm2d(8)
        self.dense = torch.nn.Linear(8, 5)

    def forward(self, x: Any) -> Any:
        return self.dense(torch.relu(self.norm(self.convolution(x))).mean((2, 3)))


def save(path: Path, *dynamic: tuple[int, Any], batch: int = 2) -> tuple[Path, Any]:
    """A small model with random statistics, exported with dynamic dimensions of its input."""
    torch.manual_seed(0)
    model = Small().eval()
    model.norm.running_mean.uniform_(-1, 1)
    model.norm.running_var.uniform_(0.5, 2)
    example = torch.zeros(batch, 3, 16, 16)
    torch.export.save(torch.export.export(model, (example,), dynamic_shapes=(dict(dynamic),)), str(path))
    return path, model


def test_network(tmp_path: Path) -> None:
    path, model = save(tmp_path / "small.pt2")
    network = load_network(path)
    assert (network.name, network.source) == ("small", "pt2")
    x = noise(2, 3, 16, 16)
    with torch.no_grad():
        expected = model(torch.from_numpy(x)).numpy()
    assert_close(outputs_of(network, [x]), [expected])


def test_weights_are_the_file_s_whatever_the_seed(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "small.pt2")
    x = [noise(2, 3, 16, 16)]
    assert_close(outputs_of(load_network(path, seed=5), x), outputs_of(load_network(path, seed=6), x))


@pytest.mark.parametrize("batch", [1, 2, 5])
@pytest.mark.parametrize("dimension", [Dim("batch"), Dim.AUTO], ids=["named", "auto"])
def test_dynamic_batch_is_set(tmp_path: Path, batch: int, dimension: Any) -> None:
    path, _ = save(tmp_path / "small.pt2", (0, dimension))
    graph = load_graph(path, batch=batch)
    assert graph.inputs[0].shape == (batch, 3, 16, 16)
    assert graph.inputs[0].batch == batch
    assert [operator.type for operator in graph.operators] == ["conv2d", "relu", "global_avg_pool2d", "dense"]


def test_batch_outside_of_the_exported_range(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "small.pt2", (0, Dim("batch", min=3, max=4)), batch=3)
    assert load_graph(path, batch=4).inputs[0].shape[0] == 4
    for batch in (1, 8):
        with pytest.raises(FrontendError, match=rf"a batch of 3 \.\. 4 in input 'x'; batch {batch} is outside"):
            load_network(path, batch=batch)


def test_fixed_batch(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "small.pt2")
    for batch in (1, 2):  # 1 is what nobody asked for
        assert load_graph(path, batch=batch).inputs[0].shape[0] == 2
    with pytest.raises(FrontendError, match="batch 3 cannot be set: input 'x' has the fixed batch 2"):
        load_network(path, batch=3)


def test_other_dynamic_shape_names_the_tensor(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "small.pt2", (0, Dim("batch")), (2, Dim("height")))
    with pytest.raises(FrontendError, match=r"input 'x' has the dynamic size .* in dimension 2"):
        load_network(path)


def test_shape_that_depends_on_data(tmp_path: Path) -> None:
    class Nonzero(torch.nn.Module):  # type: ignore[misc, name-defined]
        def forward(self, x: Any) -> Any:
            return torch.nonzero(x).float()

    path = tmp_path / "nonzero.pt2"
    torch.export.save(torch.export.export(Nonzero(), (torch.ones(2, 3),)), str(path))
    with pytest.raises(FrontendError, match=r"cannot import .*nonzero"):
        load_network(path)


@pytest.mark.parametrize("content", [b"", b"hello\n" * 100, bytes(range(256)) * 8])
def test_garbage(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.pt2"
    path.write_bytes(content)
    with pytest.raises(FrontendError, match=r"bad\.pt2' is no exported program") as caught:
        load_network(path)
    assert "\n" not in str(caught.value)


def test_truncated(tmp_path: Path) -> None:
    path, _ = save(tmp_path / "small.pt2")
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(FrontendError, match=r"small\.pt2' is no exported program"):
        load_network(path)


def test_weights_alone(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt2"
    torch.save({"weight": torch.zeros(3)}, path)
    with pytest.raises(FrontendError, match=r"no exported program as torch\.export\.save writes it"):
        load_network(path)
