"""Several placements on one minibatch through the prefix tree, against as many single steps: time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from poolsearch.nets.live_bytes import LiveBytes
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTraining
from search_step import MEMBERS, images
from timing import alternate, ratio

MANY = (2, 4, 8, 16)
Draw = tuple[int, list[int]]


def draws(many: int, steps: int) -> list[Draw]:
    """A member and placements for each step: each member has nine neighbours, as after a search."""
    draw = np.random.default_rng(0)
    members = draw.integers(0, MEMBERS, steps)
    return [(int(m), (9 * m + draw.integers(0, 9, many)).tolist()) for m in members]


def task_of(run: Run, given: list[Draw]) -> tuple[SearchTraining, Iterator[int]]:
    """A search that trains what it is given, again and again."""
    task, again = SearchTraining(run), cycle(given)
    task.search._draw = lambda *_: next(again)  # type: ignore[method-assign]
    return task, iter(range(10**9))


def main(batch: int = 128, rounds: int = 3, many: tuple[int, ...] = MANY) -> list[str]:
    """Lines for the report."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder), 20 * batch)
        settings = Settings.of(
            preset="paper", cache_dir=f"{folder}/cache",
            data=str(data), batch=batch, val_batch=batch, members=MEMBERS, net="cifar-resnet20", augment="crop-flip",
        )  # fmt: skip
        with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
            for k in many:
                together = draws(k, max(1, 32 // k))
                alone = [(m, [number]) for m, numbers in together for number in numbers]
                works = {
                    name: partial(_steps, *task_of(run, given), len(given))
                    for name, given in (("alone", alone), ("together", together))
                }
                seconds = alternate(works, rounds)
                lines.append(f"{k} placements: {k} single steps / one step {ratio(seconds, 'alone', 'together')}")
            for k in (1, *many):
                given = draws(k, 12) if k > 1 else [(number // 9, [number]) for number in range(36)]
                most = _live_bytes(*task_of(run, given), len(given))
                lines.append(f"{k} placement{'s' * (k > 1)}: at most {most / 1e6:.1f} MB alive in a step")
    return lines


def _steps(task: SearchTraining, count: Iterator[int], steps: int) -> None:
    for _ in range(steps):
        task.step(next(count))


def _live_bytes(task: SearchTraining, count: Iterator[int], steps: int) -> int:
    """The most bytes of tensors made in a step that are alive together; first steps make what stays."""
    most = 0
    for _ in range(steps):
        with LiveBytes() as live:
            task.step(next(count))
        most = max(most, live.most)
    return most


if __name__ == "__main__":
    print("\n".join(main()))
