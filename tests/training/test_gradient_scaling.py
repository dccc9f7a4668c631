"""SpatialGradientScaling in training loops of all kinds, and what it refuses."""

from __future__ import annotations

import copy
import gc
import weakref
from typing import Any

import pytest
import torch
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import Tensor, nn

from tvm_fusion.errors import TrainingError
from tvm_fusion.training.dependence.registry import make_dependence
from tvm_fusion.training.gradient_scaling import SpatialGradientScaling

G = torch.tensor([[0.5, 1.0, 0.5], [1.0, 3.0, 1.0], [0.5, 1.0, 0.5]], dtype=torch.float64)


def small(seed: int = 0, norm: bool = True) -> nn.Sequential:
    torch.manual_seed(seed)
    norms = nn.BatchNorm2d(6) if norm else nn.Identity()
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), norms, nn.ReLU(), nn.Conv2d(6, 6, (3, 5), padding=(1, 2)), nn.ReLU(),
        nn.Conv2d(6, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
    )  # fmt: skip


def data(count: int = 4, seed: int = 1) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.rand(8, 2, 12, 10, generator=generator), torch.arange(8) % 4) for _ in range(count)]


def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: tuple[Tensor, Tensor]) -> None:
    optimizer.zero_grad()
    F.cross_entropy(model(batch[0]), batch[1]).backward()
    optimizer.step()


def sgd(model: nn.Module, lr: float = 0.1) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)


def test_gradients_are_scaled_after_clipping_and_left_as_they_were() -> None:
    model = small()
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sgs = SpatialGradientScaling(model, optimizer, update_every=None)
    sgs.scales["0"] = G
    F.cross_entropy(model(data()[0][0]), data()[0][1]).backward()
    nn.utils.clip_grad_norm_(model.parameters(), 0.01)
    before, gradient = model[0].weight.clone(), model[0].weight.grad.clone()
    other, other_gradient = model[3].weight.clone(), model[3].weight.grad.clone()
    optimizer.step()
    torch.testing.assert_close(before - model[0].weight, gradient * G.float())
    torch.testing.assert_close(other - model[3].weight, other_gradient)
    assert torch.equal(model[0].weight.grad, gradient)


def test_accumulated_gradients_are_scaled_once() -> None:
    one, several = small(norm=False), small(norm=False)
    batch = data()[0]
    for model, parts in ((one, 1), (several, 4)):
        optimizer = sgd(model)
        SpatialGradientScaling(model, optimizer).scales["0"] = G
        for x, y in zip(batch[0].chunk(parts), batch[1].chunk(parts), strict=True):
            (F.cross_entropy(model(x), y) / parts).backward()
        optimizer.step()
    torch.testing.assert_close(one[0].weight, several[0].weight)


def test_schedule_and_layers() -> None:
    model = small()
    sgs = SpatialGradientScaling(model, sgd(model), update_every=2, batches=1)
    assert list(sgs.scales) == ["0", "3"]
    assert [sgs.epoch(data()) for _ in range(5)] == [False, False, True, False, True]
    assert sgs.scales["3"].shape == (3, 5)
    for scale in sgs.scales.values():
        assert float(scale.mean()) == pytest.approx(1)
        assert not torch.equal(scale, torch.ones_like(scale))
    never = SpatialGradientScaling(small(), update_every=None)
    assert not any(never.epoch() for _ in range(9))
    assert list(SpatialGradientScaling(model, modules=["3"]).scales) == ["3"]


@pytest.mark.parametrize("name", ["mutual-information", "autocorrelation", "random", "ones"])
def test_ways_to_find_g(name: str) -> None:
    model = small()
    sgs = SpatialGradientScaling(model, sgd(model), dependence=make_dependence(name))
    sgs.update(data())
    for scale in sgs.scales.values():
        assert float(scale.mean()) == pytest.approx(1)
        assert bool((scale > 0).all())
    step(model, sgd(model), data()[0])


def test_update_leaves_the_model_as_it_was() -> None:
    model = small().train()
    model[1].eval()
    before = copy.deepcopy(model.state_dict())
    sgs = SpatialGradientScaling(model)
    sgs.update(data())
    assert model.training
    assert not model[1].training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not model[0]._forward_pre_hooks
    assert model[1].momentum == 0.1


def test_a_norm_that_has_seen_no_data_normalises_by_the_batch() -> None:
    """Its running mean and variance say nothing yet; with them the next layer would see another scale of things."""
    model, trained = small(), small()
    model[0].weight.data.mul_(1e3)
    trained[0].weight.data.mul_(1e3)
    trained[1].momentum = 1.0
    trained.train()(data()[0][0])
    sgs, other = SpatialGradientScaling(model, batches=1), SpatialGradientScaling(trained, batches=1)
    sgs.update(data())
    other.update(data())
    torch.testing.assert_close(sgs.scales["3"], other.scales["3"], atol=0.02, rtol=0)


def test_no_activation_is_kept_alive() -> None:
    model, seen = small(), []
    sgs = SpatialGradientScaling(model)
    handle = model[3].register_forward_pre_hook(lambda _, args: seen.append(weakref.ref(args[0])))
    sgs.update(data())
    handle.remove()
    gc.collect()
    assert seen
    assert all(ref() is None for ref in seen)


class Twice(nn.Module):
    """One layer is used twice, and layers run in another order than they are named."""

    def __init__(self) -> None:
        super().__init__()
        self.last = nn.Conv2d(3, 3, 3, padding=1)
        self.first = nn.Conv2d(3, 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.first(self.first(x)))


def test_layers_go_by_name_and_may_be_used_twice() -> None:
    model, x = Twice(), torch.rand(4, 3, 9, 9)
    sgs = SpatialGradientScaling(model)
    sgs.update([x])
    with torch.no_grad():
        inside = model.first(x)
    expected = SpatialGradientScaling(nn.Sequential(model.first))
    expected.update([torch.cat((x, inside))])
    torch.testing.assert_close(sgs.scales["first"], expected.scales["0"])
    expected = SpatialGradientScaling(nn.Sequential(model.last))
    with torch.no_grad():
        expected.update([model.first(inside)])
    torch.testing.assert_close(sgs.scales["last"], expected.scales["0"])


@pytest.mark.parametrize("make", [sgd, lambda model: torch.optim.AdamW(model.parameters(), lr=0.01)])
def test_resumes_to_the_bit(make: Any) -> None:
    def run(epochs: int, resume: dict[str, Any] | None = None) -> tuple[nn.Module, dict[str, Any]]:
        model = small()
        optimizer = make(model)
        sgs = SpatialGradientScaling(model, optimizer, update_every=2)
        if resume is not None:
            model.load_state_dict(resume["model"])
            optimizer.load_state_dict(resume["optimizer"])
            sgs.load_state_dict(resume["sgs"])
        for epoch in range(sgs.epochs, epochs):
            sgs.epoch(data(seed=epoch))
            for batch in data(seed=epoch):
                step(model, optimizer, batch)
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "sgs": sgs.state_dict()}
        return model, copy.deepcopy(state)

    whole, _ = run(6)
    _, half = run(3)
    resumed, _ = run(6, half)
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_with_closures_the_gradient_of_each_is_scaled() -> None:
    with_closure, without = small(norm=False), small(norm=False)
    for model in (with_closure, without):
        optimizer = sgd(model)
        SpatialGradientScaling(model, optimizer).scales["0"] = G
        for batch in data():
            if model is without:
                step(model, optimizer, batch)
                continue

            def closure(optimizer: torch.optim.Optimizer = optimizer, batch: tuple[Tensor, Tensor] = batch) -> Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(with_closure(batch[0]), batch[1])
                loss.backward()
                return loss

            optimizer.step(closure)
    assert torch.equal(with_closure[0].weight, without[0].weight)


def test_with_autocast_and_a_grad_scaler() -> None:
    model, plain = small(norm=False), small(norm=False)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
    for net, scaled in ((model, True), (plain, False)):
        optimizer = sgd(net)
        SpatialGradientScaling(net, optimizer).scales["0"] = G
        for x, y in data():
            optimizer.zero_grad()
            if scaled:
                with torch.autocast("cpu", dtype=torch.bfloat16):
                    loss = F.cross_entropy(net(x), y)
                scaler.scale(loss).backward()
                scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                scaler.step(optimizer)
                scaler.update()
            else:
                F.cross_entropy(net(x), y).backward()
                nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
    torch.testing.assert_close(model[0].weight, plain[0].weight, atol=5e-3, rtol=0)


@pytest.mark.slow
def test_with_torch_compile() -> None:
    plain, inner = small(), small()
    compiled = torch.compile(inner)
    for model in (plain, compiled):
        optimizer = sgd(model)
        sgs = SpatialGradientScaling(model, optimizer, update_every=1)
        assert list(sgs.scales) == ["0", "3"]
        for epoch in range(3):
            sgs.epoch(data(seed=epoch))
            for batch in data(seed=epoch):
                step(model, optimizer, batch)
    torch.testing.assert_close(inner[0].weight, plain[0].weight, atol=1e-4, rtol=1e-3)


def _one_of_two(rank: int, port: int, results: Any) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    model = nn.parallel.DistributedDataParallel(small(norm=False))
    optimizer = sgd(model)
    sgs = SpatialGradientScaling(model, optimizer, update_every=1)
    for epoch in range(2):
        batches = data(seed=10 * rank + epoch)
        sgs.epoch(batches)
        for batch in batches:
            step(model, optimizer, batch)
    results[rank] = [scale.tolist() for scale in sgs.scales.values()], model.module[0].weight.tolist()
    torch.distributed.destroy_process_group()


@pytest.mark.slow
def test_two_processes_have_the_same_g(free_port: int) -> None:
    with mp.Manager() as manager:
        results = manager.dict()
        mp.spawn(_one_of_two, (free_port, results), nprocs=2)
        assert results[0] == results[1]


@pytest.fixture
def free_port() -> int:
    import socket

    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def test_detached_it_does_nothing() -> None:
    model, plain = small(), small()
    optimizer = sgd(model)
    sgs = SpatialGradientScaling(model, optimizer)
    sgs.scales["0"] = G
    sgs.detach()
    step(model, optimizer, data()[0])
    step(plain, sgd(plain), data()[0])
    assert torch.equal(model[0].weight, plain[0].weight)
    assert not optimizer._optimizer_step_pre_hooks


class TestRefusals:
    """One clear line each, nothing half done."""

    @pytest.mark.parametrize(("options", "words"), [
        ({"k": 0}, "k 0"), ({"k": -2.0}, "k -2.0"), ({"update_every": 0}, "update_every 0"),
        ({"batches": 0}, "batches 0"), ({"modules": ["5"]}, "'5'"), ({"modules": ["nowhere"]}, "'nowhere'"),
        ({"modules": []}, "names no layer"),
    ])  # fmt: skip
    def test_arguments(self, options: dict[str, Any], words: str) -> None:
        with pytest.raises(TrainingError, match=words):
            SpatialGradientScaling(small(), **options)

    def test_models(self) -> None:
        with pytest.raises(TrainingError, match="no convolution"):
            SpatialGradientScaling(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2), nn.Conv2d(1, 1, (1, 3))))
        frozen = small()
        frozen[0].weight.requires_grad_(False)
        with pytest.raises(TrainingError, match="'0' is frozen"):
            SpatialGradientScaling(frozen)
        tied = small()
        tied.append(nn.Conv2d(2, 6, 3))
        tied[-1].weight = tied[0].weight
        with pytest.raises(TrainingError, match="'0' and '8' share a weight"):
            SpatialGradientScaling(tied)
        twice = small()
        twice.append(twice[0])
        with pytest.raises(TrainingError, match="'0' and '8' are one module"):
            SpatialGradientScaling(twice)
        assert list(SpatialGradientScaling(twice, modules=["3"]).scales) == ["3"]

    def test_optimizers(self) -> None:
        model = small()
        with pytest.raises(TrainingError, match="LBFGS"):
            SpatialGradientScaling(model, torch.optim.LBFGS(model.parameters()))
        with pytest.raises(TrainingError, match="does not hold the weight of '0'"):
            SpatialGradientScaling(model, torch.optim.SGD(model[3].parameters(), lr=0.1))

    def test_batches(self) -> None:
        model = small()
        sgs = SpatialGradientScaling(model, update_every=1)
        for nothing in ([], iter(())):
            with pytest.raises(TrainingError, match="no batch"):
                sgs.update(nothing)
        sgs.epoch()
        with pytest.raises(TrainingError, match="needs batches"):
            sgs.epoch()
        with pytest.raises(TrainingError, match="a str"):
            sgs.update(["image.png"])

    def test_values_that_are_not_finite(self) -> None:
        model = small()
        sgs = SpatialGradientScaling(model)
        sgs.update(data())
        before = {name: scale.clone() for name, scale in sgs.scales.items()}
        bad = data(seed=5)
        model[3].weight.data[0] = float("nan")
        model.append(nn.Unflatten(1, (1, 2, 2)))
        model.append(nn.Conv2d(1, 1, 2))
        with pytest.raises(TrainingError, match="'0'"):
            sgs.update([(bad[0][0].where(bad[0][0] > 0.01, float("nan")), bad[0][1])])
        assert all(torch.equal(sgs.scales[name], scale) for name, scale in before.items())
        assert model.training
        assert not model[0]._forward_pre_hooks

    def test_scales(self) -> None:
        sgs = SpatialGradientScaling(small())
        for name, scale in (("0", torch.ones(3, 5)), ("0", -G), ("0", G * float("nan")), ("1", G)):
            with pytest.raises(TrainingError, match=f"'{name}'"):
                sgs.scales[name] = scale
        with pytest.raises(TrainingError, match="'9'"):
            sgs.scales = {"0": G, "9": G}
        assert torch.equal(sgs.scales["0"], torch.ones(3, 3, dtype=torch.float64))

    def test_states(self) -> None:
        sgs = SpatialGradientScaling(small())
        sgs.scales["0"] = G
        other = nn.Sequential(nn.Conv2d(1, 1, 3))
        with pytest.raises(TrainingError, match="another model"):
            sgs.load_state_dict(SpatialGradientScaling(other).state_dict())
        shape = SpatialGradientScaling(nn.Sequential(nn.Conv2d(1, 1, 5), nn.ReLU(), nn.ReLU(), nn.Conv2d(1, 1, (3, 5))))
        with pytest.raises(TrainingError, match="'0' has shape"):
            sgs.load_state_dict(shape.state_dict())
        with pytest.raises(TrainingError, match="version"):
            sgs.load_state_dict({})
        assert torch.equal(sgs.scales["0"], G)
