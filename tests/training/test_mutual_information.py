"""G by mutual information: equal to its slow twin, and what the rule implies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.training import slow_twin
from tvm_fusion.errors import TrainingError
from tvm_fusion.training.conv_window import ConvWindow, normalised
from tvm_fusion.training.dependence.mutual_information import MutualInformation

KERNELS = st.tuples(st.sampled_from((2, 3, 4, 5)), st.sampled_from((2, 3, 5)))


def scale(batches: Sequence[Tensor], window: ConvWindow, k: float = 5, ignore_zeros: bool = False) -> Tensor:
    found = MutualInformation(k, ignore_zeros)
    observer = found.observer(window, "layer")
    for turn in range(found.passes):
        for batch in batches:
            observer.observe(window.padded(batch), turn)
    return normalised(observer.taps())


@st.composite
def windows(draw: st.DrawFn, odd: bool = False) -> ConvWindow:
    kernel = draw(st.tuples(*[st.sampled_from((3, 5))] * 2) if odd else KERNELS)
    dilation = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    rows, columns = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    return ConvWindow(kernel, dilation, (columns, columns, rows, rows))


@st.composite
def inputs(draw: st.DrawFn, window: ConvWindow, dtype: torch.dtype = torch.float32) -> Tensor:
    """Maps from noise to smooth, some sparse as behind a ReLU, some with constant channels."""
    least = [1 + d * (size - 1) for size, d in zip(window.kernel, window.dilation, strict=True)]
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), *(n + draw(st.integers(0, 4)) for n in least))
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    values = generator.normal(size=shape)
    if draw(st.booleans()):
        values = (values + np.roll(values, 1, axis=3) + np.roll(values, 1, axis=2)) / 3
    if draw(st.booleans()):
        values = np.maximum(values, 0)
    if draw(st.booleans()):
        values[:, 0] = draw(st.sampled_from((0.0, 1.5)))
    return torch.tensor(values, dtype=dtype)


@settings(max_examples=60, deadline=None)
@given(st.data(), windows(), st.sampled_from((1.0, 5.0, 50.0)), st.booleans())
def test_equal_to_the_slow_twin(data: st.DataObject, window: ConvWindow, k: float, ignore_zeros: bool) -> None:
    x = data.draw(inputs(window))
    found = scale([x], window, k, ignore_zeros)
    left, _, top, _ = window.padding
    expected = slow_twin.scale(x.numpy(), window.kernel, (top, left), window.dilation, k, ignore_zeros)
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-6)


@settings(max_examples=100, deadline=None)
@given(st.data(), windows(odd=True))
def test_what_the_rule_implies(data: st.DataObject, window: ConvWindow) -> None:
    x = data.draw(inputs(window, torch.float64))
    g = scale([x], window)
    assert g.mean() == pytest.approx(1)
    assert bool((g > 0).all())
    torch.testing.assert_close(g, g.flip(0, 1))
    assert g.max() == g[window.centre]
    # A channel of which nothing varies, border included, counts for nothing.
    torch.testing.assert_close(scale([torch.cat((x, torch.zeros_like(x[:, :1])), dim=1)], window), g)
    torch.testing.assert_close(scale([x], window, k=1e12), torch.ones_like(g), atol=1e-6, rtol=0)
    (left, right, top, bottom), (down, across) = window.padding, window.dilation
    turned = ConvWindow(window.kernel[::-1], (across, down), (top, bottom, left, right))
    torch.testing.assert_close(scale([x.transpose(2, 3)], turned), g.T)
    if len(x) > 1:
        torch.testing.assert_close(scale([x[:1], x[1:]], window), g)


@settings(max_examples=60, deadline=None)
@given(st.data(), windows(odd=True), st.sampled_from((0.25, 2.0, -8.0)), st.sampled_from((0.0, 4.0)))
def test_without_padding_scales_of_channels_do_not_matter(
    data: st.DataObject, window: ConvWindow, a: float, b: float
) -> None:
    window = ConvWindow(window.kernel, window.dilation)
    # Values that powers of two and small sums keep exactly, and away from the borders of bins if turned round.
    x = (data.draw(inputs(window, torch.float64)) * 1000).round() / 1024
    if a < 0:
        assume(len(x.unique()) == x.numel())
        torch.testing.assert_close(scale([x * a], window), scale([-x], window))
    else:
        torch.testing.assert_close(scale([x * a + b], window), scale([x], window))


def test_noise_depends_on_nothing() -> None:
    x = torch.randn(64, 2, 64, 64, generator=torch.Generator().manual_seed(0))
    g = scale([x], ConvWindow((3, 3)))
    assert g[0, 0] < 0.02
    assert g[1, 1] == pytest.approx(8.96, abs=0.05)


def test_all_channels_constant() -> None:
    window = ConvWindow((3, 3))
    torch.testing.assert_close(scale([torch.full((2, 3, 8, 8), 7.0)], window), torch.ones(3, 3, dtype=torch.float64))


@pytest.mark.parametrize("k", [0, -1, float("nan")])
def test_k_must_be_above_zero(k: float) -> None:
    with pytest.raises(TrainingError, match="must be above 0"):
        MutualInformation(k)


def test_windows_of_layers() -> None:
    assert ConvWindow.of(nn.Conv2d(1, 1, (3, 5), padding=(1, 0), dilation=(2, 1))) == ConvWindow(
        (3, 5), (2, 1), (0, 0, 1, 1)
    )
    same = ConvWindow.of(nn.Conv2d(1, 1, (4, 3), padding="same", dilation=(1, 2), padding_mode="reflect"))
    assert same == ConvWindow((4, 3), (1, 2), (2, 2, 1, 2), "reflect")
    x = torch.arange(60.0).view(1, 1, 6, 10)
    torch.testing.assert_close(same.padded(x)[..., 1:-2, 2:-2], x)
    assert ConvWindow.of(nn.Conv2d(1, 1, 3, padding="valid")).padding == (0, 0, 0, 0)
