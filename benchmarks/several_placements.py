"""Several placements on one minibatch through the prefix tree, against as many single steps: time and memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np

from memory import measured
from poolsearch.context import Run, open_run
from poolsearch.progress import Silent
from poolsearch.settings import Settings
from poolsearch.stages.search import SearchTask
from search_step import MEMBERS, images
from timing import alternate, ratio

MANY = (2, 4, 8, 16)
Draw = tuple[int, list[int]]


def draws(many: int, steps: int) -> list[Draw]:
    """A member and placements for each step: each member has nine neighbours, as after a search."""
    draw = np.random.default_rng(0)
    members = draw.integers(0, MEMBERS, steps)
    return [(int(m), (9 * m + draw.integers(0, 9, many)).tolist()) for m in members]


def task_of(run: Run, given: list[Draw]) -> tuple[SearchTask, Iterator[int]]:
    """A search that trains what it is given, again and again."""
    task, again = SearchTask(run), cycle(given)
    task._draw = lambda _: next(again)  # type: ignore[method-assign]
    task.epoch_starts(0)
    return task, iter(range(10**9))


def main(batch: int = 128, rounds: int = 3, many: tuple[int, ...] = MANY) -> list[str]:
    """Lines for the report."""
    lines = []
    with tempfile.TemporaryDirectory() as folder:
        data = images(Path(folder), 20 * batch)
        settings = Settings.of(
            data=str(data), batch=batch, val_batch=batch, members=MEMBERS, net="cifar-resnet20", augment="crop-flip",
            cache_dir=f"{folder}/cache",
        )  # fmt: skip
        with open_run(Path(folder) / "run", settings, False, Silent()) as run:
            for k in many:
                together = draws(k, max(1, 32 // k))
                alone = [(m, [number]) for m, numbers in together for number in numbers]
                works = {
                    name: partial(_steps, *task_of(run, given), len(given))
                    for name, given in (("alone", alone), ("together", together))
                }
                seconds = alternate(works, rounds)
                lines.append(f"{k} placements: {k} single steps / one step {ratio(seconds, 'alone', 'together')}")
        peak = partial(measured, "search", data, 8, batch, net="cifar-resnet20", members=MEMBERS)
        alone_peak = peak()["peak"]
        for k in many:
            together_peak = peak(placements_per_step=k)["peak"]
            lines.append(f"{k} placements: peak memory {together_peak / alone_peak:.3f} of that of single steps")
    return lines


def _steps(task: SearchTask, count: Iterator[int], steps: int) -> None:
    for _ in range(steps):
        task.step(next(count))


if __name__ == "__main__":
    print("\n".join(main()))
