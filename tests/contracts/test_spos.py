"""One member is single-path one-shot, step for step: the search against a loop written here in plain torch."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

import poolsearch
from poolsearch import rng
from poolsearch.nets.build import NetSpec, build
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.supernet.norms import batch_norm
from poolsearch.train import checkpoint
from poolsearch.train.seeded import seeded

EPOCHS, LR, FLOOR, DECAY, MOMENTUM = 2, 0.02, 1e-3, 1e-3, 0.9


def spos(settings: Settings, folder: Path) -> tuple[dict[str, torch.Tensor], np.ndarray]:
    """Guo et al. 2019, uniform single-path training; gives the weights, and each placement's mean score (beta 0.9)."""
    with open_run(folder, settings, False, SilentProgress()) as run:
        with seeded(run.seed, "member-weights", 0):
            net = build(NetSpec("cifar-resnet20", 10, 2), batch_norm).to(memory_format=torch.channels_last)
        train = run.loader(run.split.search_train, 64, "search-train", run.seed, augmented=True)
        val = run.loader(run.split.search_val, 64, "search-val", run.seed, augmented=False)
        velocity = {name: torch.zeros_like(p) for name, p in net.named_parameters()}
        score_A = np.ones(36)
        steps = EPOCHS * train.steps_per_epoch
        for step in range(steps):
            lr = FLOOR + (LR - FLOOR) * (1 + math.cos(math.pi * step / steps)) / 2
            number = int(rng.generator(run.seed, "placement", step).integers(36))
            x, y = train.batch(step)
            net.zero_grad()
            F.cross_entropy(net(x, run.space[number]), y).backward()
            with torch.no_grad():
                for name, p in net.named_parameters():
                    velocity[name] = MOMENTUM * velocity[name] + p.grad + DECAY * p
                    p -= lr * velocity[name]
                x, y = val.batch(step)
                accuracy = float((net(x, run.space[number]).argmax(1) == y).float().mean())
            score_A[number] = 0.9 * score_A[number] + 0.1 * accuracy
        return {name: p.detach() for name, p in net.named_parameters()}, score_A


def test_one_member_is_spos_step_for_step(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    settings = tiny(method="spos", epochs=EPOCHS, lr=LR, batch=64, val_batch=64)
    weights, score_A = spos(settings, tmp_path / "plain")
    poolsearch.search(tmp_path / "ours", settings)
    tensors, _ = checkpoint.load(tmp_path / "ours" / "checkpoint" / "search.safetensors")
    for name, expected in weights.items():
        # rounding alone makes less than 1e-6 at this rate; from 0.03 on it can grow to 0.03 within these steps
        assert torch.allclose(tensors[f"member0/{name}"], expected, atol=1e-5), name
    # two images of 64 may fall the other way for a last-bit difference of the logits
    assert np.abs(tensors["mixture/score_AM"].numpy()[:, 0] - score_A).max() < 0.1 * 2 / 64 + 1e-9


def test_spos_and_a_mixture_of_one_are_the_same_to_the_bit(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    poolsearch.search(tmp_path / "spos", tiny(method="spos"))
    poolsearch.search(tmp_path / "mixture", tiny(method="mixture", members=1))
    one, _ = checkpoint.load(tmp_path / "spos" / "checkpoint" / "search.safetensors")
    other, _ = checkpoint.load(tmp_path / "mixture" / "checkpoint" / "search.safetensors")
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name
