"""(e) Validation's share of a step, by the size and rarity of its minibatches, against the noise of the scores."""

from __future__ import annotations

import math
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTraining
from search_step import MEMBERS, images, ours
from timing import alternate

BETA = 0.9
CHOICES = ((256, 1), (128, 1), (64, 1), (32, 1), (128, 2), (128, 4))


def steps_of(run: Run, val_batch: int, val_every: int) -> tuple[SearchTraining, list[int]]:
    """A task that validates so, and where its steps are counted."""
    search = replace(run.settings.search, val_batch=val_batch, val_every=val_every)
    task, _ = ours(replace(run, settings=replace(run.settings, search=search)))
    return task, [0]


def times(batch: int, steps: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of ``steps`` steps under each choice, on random images of CIFAR-10's size."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.of(
            preset="paper", cache_dir=f"{folder}/cache",
            data=str(images(Path(folder), max(20 * batch, 640))), batch=batch, members=MEMBERS, net="cifar-resnet20",
            augment="crop-flip",
        )  # fmt: skip
        with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
            tasks = {str(choice): steps_of(run, *choice) for choice in CHOICES}

            def work(task: SearchTraining, done: list[int]) -> None:
                for _ in range(steps):
                    task.step(done[0])
                    done[0] += 1

            return alternate({name: partial(work, *parts) for name, parts in tasks.items()}, rounds)


def noise(trained_steps: int) -> dict[int, tuple[float, float]]:
    """Of each size of minibatch: the deviation of a score as measured, and in theory.

    One supernet is trained on digits and then left as it is; minibatches are drawn again and again. A moving average
    of independent means of n images has the variance p (1 - p) / n (1 - beta) / (1 + beta).
    """
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.of(
            preset="paper", data="digits", members=1, net="cifar-resnet20", width=8, cache_dir=f"{folder}/cache"
        )
        with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
            task = SearchTraining(run)
            for step in range(trained_steps):
                task.step(step)
            return {n: _deviation(run, task, n) for n in sorted({n for n, _ in CHOICES})}


@torch.inference_mode()
def _deviation(run: Run, task: SearchTraining, n: int, draws: int = 300) -> tuple[float, float]:
    supernet, placement = task.members[0].eval(), run.space.default
    loader = run.loader(run.split.search_val, len(run.split.search_val), "noise", 0, augmented=False)
    x_BCHW, y_B = loader.batch(0)
    right, draw = [], np.random.default_rng(0)
    for _ in range(draws):
        rows = torch.from_numpy(draw.integers(0, len(y_B), n))
        right.append(float((supernet(x_BCHW[rows], placement).argmax(1) == y_B[rows]).float().mean()))
    score, scores = float(np.mean(right)), []
    for accuracy in right:
        score = BETA * score + (1 - BETA) * accuracy
        scores.append(score)
    p = float(np.mean(right))
    return float(np.std(scores)), math.sqrt(p * (1 - p) / n * (1 - BETA) / (1 + BETA))


def main(batch: int = 128, steps: int = 36, rounds: int = 3, trained_steps: int = 60) -> list[str]:
    """Lines for the report."""
    seconds = times(batch, steps, rounds)
    deviations = noise(trained_steps)
    first = str((128, 1))
    lines = []
    for n, every in CHOICES:
        share = sorted(a / b for a, b in zip(seconds[str((n, every))], seconds[first], strict=True))
        measured, theory = deviations[n]
        lines.append(
            f"{n} images every {'step' if every == 1 else f'{every} steps'}: {share[len(share) // 2]:.2f} of the time "
            f"of 128 every step; deviation of a score {measured:.2%} (in theory {theory:.2%}), {every} times as old"
        )
    return lines


if __name__ == "__main__":
    print("\n".join(main()))
