"""Tasks whose right scale is known: it is learned from above and from below, with every seed."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from poolsearch.resizers import DiffStride, DynOPool, ShapeAdaptor

SEEDS = range(5)


def gratings(images: int, period: float, draws: torch.Generator, side: int = 64) -> Tensor:
    """Maps (B, 1, 8, side) of vertical stripes, each at a phase of its own."""
    phases = torch.rand(images, 1, 1, 1, generator=draws)
    return torch.cos(2 * math.pi * (torch.arange(side) / period + phases)).expand(-1, 1, 8, -1)


@pytest.mark.parametrize("begin", [1.5, 6.0], ids=["from below", "from above"])
@pytest.mark.parametrize("seed", SEEDS)
def test_diffstride_keeps_the_gratings_and_cuts_the_noise(seed: int, begin: float) -> None:
    """Stripes of frequency 8 of 64, and finer noise: a stride of 64 / (2 * 8) = 4 keeps the one and cuts the other."""
    draws = torch.Generator().manual_seed(seed)
    layer = DiffStride((1.0, begin))
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    for _ in range(120):
        clean = gratings(16, 8.0, draws)
        noise = torch.fft.rfft(torch.randn(16, 1, 1, 64, generator=draws))
        noise[..., :12] = 0
        made = layer(clean + 0.7 * torch.fft.irfft(noise, n=64))
        size = made.shape[3]
        wanted = torch.fft.irfft(torch.fft.rfft(clean)[..., : size // 2 + 1], n=size) * size / 64
        optimizer.zero_grad()
        F.mse_loss(made, wanted).backward()
        optimizer.step()
    assert 1 / layer.scales()[1].item() == pytest.approx(4.0, rel=0.06)


@pytest.mark.parametrize("begin", [0.36, 0.75], ids=["from below", "from above"])
@pytest.mark.parametrize("seed", SEEDS)
def test_dynopool_brings_gratings_to_the_period_of_a_filter(seed: int, begin: float) -> None:
    """Stripes of 12 pixels, and a filter for stripes of 6: a scale of one half makes the one the other."""
    draws = torch.Generator().manual_seed(seed)
    layer = DynOPool((1.0, begin))
    taps = 2 * math.pi * torch.arange(9) / 6
    window = torch.hann_window(11)[1:-1]
    filters = torch.stack([taps.cos(), taps.sin()])[:, None, None] * window
    optimizer = torch.optim.Adam(layer.parameters(), 0.02)
    for _ in range(120):
        energy = F.conv2d(layer(gratings(16, 12.0, draws, side=96)), filters).square().sum(1).mean()
        optimizer.zero_grad()
        (-energy).backward()
        optimizer.step()
    assert layer.scales()[1].item() == pytest.approx(0.5, rel=0.06)


@pytest.mark.parametrize("begin", [0.55, 0.95], ids=["from below", "from above"])
@pytest.mark.parametrize("seed", SEEDS)
def test_shape_adaptor_finds_the_mixture_that_made_the_targets(seed: int, begin: float) -> None:
    draws = torch.Generator().manual_seed(seed)
    layer, right = ShapeAdaptor(begin), ShapeAdaptor(0.75)
    optimizer = torch.optim.Adam(layer.parameters(), 0.1)
    for _ in range(60):
        x = torch.randn(8, 2, 16, 16, generator=draws)
        optimizer.zero_grad()
        F.mse_loss(layer(x).mean((2, 3)), right(x).mean((2, 3)).detach()).backward()
        optimizer.step()
    assert layer.scales()[0].item() == pytest.approx(0.75, abs=0.02)
