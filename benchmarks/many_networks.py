"""(i) Training several small networks at once, by processes with fewer threads, against one with all threads.

Every process does whole retraining steps, with augmentation, through the executor; they count the steps of the same
stretch of time. The stretches take turns, after one round that is not counted.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from poolsearch.progress import Progress, SilentProgress
from poolsearch.resources import available_cores
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.stages.retrain import retrain_config
from poolsearch.stages.standalone.trial import StandaloneTraining, Trial
from poolsearch.workers.pool import run_trials
from search_step import images
from timing import ratio

WARM = 3


@dataclass(frozen=True)
class Stretch:
    """So many processes work, each with so many threads; the others wait."""

    processes: int
    threads: int

    def __str__(self) -> str:
        return f"{self.processes}x{self.threads}"


def stretches(cores: int) -> list[Stretch]:
    """Processes x threads: one alone with one thread and with all, and one for each core."""
    return [Stretch(1, 1), Stretch(1, cores), Stretch(cores, 1)]


def count(
    run: Run, turns: list[Stretch], seconds: float, folder: Path, process: int, progress: Progress
) -> list[float]:
    """Steps per second of this process in each turn; 0 in those that it waits through."""
    task = StandaloneTraining(run, retrain_config(run.settings), Trial(run.space.default, process))
    step, found = 0, []
    for turn, stretch in enumerate(turns):
        meet(folder / f"{turn}", process, max(s.processes for s in turns))
        if process >= stretch.processes:
            found.append(0.0)
            continue
        torch.set_num_threads(stretch.threads)
        begun = done = 0.0
        for i in range(10**9):
            if i == WARM:  # the first steps with another number of threads are slower
                begun = time.perf_counter()
            task.step(step)
            step += 1
            done = time.perf_counter()
            if i >= WARM and done - begun >= seconds:
                found.append((i + 1 - WARM) / (done - begun))
                break
    return found


def meet(folder: Path, process: int, processes: int) -> None:
    """Wait until all processes are here."""
    folder.mkdir(exist_ok=True)
    (folder / f"{process}").touch()
    while len(list(folder.iterdir())) < processes:
        time.sleep(0.002)


def measure(width: int, batch: int, rounds: int, seconds: float) -> list[str]:
    """Lines for one width."""
    kinds = stretches(max(2, available_cores()))
    turns = [kinds[(i + r) % len(kinds)] for r in range(rounds + 1) for i in range(len(kinds))]
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings.of(
            preset="paper", data=str(images(Path(folder), 20 * batch)), batch=batch, val_batch=batch, width=width,
            augment="crop-flip", net="cifar-resnet20", cache_dir=f"{folder}/cache",
        )  # fmt: skip
        with open_run(Path(folder) / "run", settings, False, SilentProgress()) as run:
            work = partial(count, run, turns, seconds, Path(folder))
            processes = kinds[-1].processes
            each = run_trials(work, range(processes), [1] * processes, SilentProgress(), "", processes, processes)
            precision = run.machine.precision
    total: dict[str, list[float]] = {}
    for stretch, rates in list(zip(turns, zip(*each, strict=True), strict=True))[len(kinds) :]:
        total.setdefault(str(stretch), []).append(batch * sum(rates))
    _, alone, many = map(str, kinds)
    rates = ", ".join(f"{name} {statistics.median(found):,.0f}" for name, found in total.items())
    return [
        f"cifar-resnet20, width {width}, batch {batch}, {precision}: images/s of processes x threads: {rates}",
        f"width {width}: {many} / {alone}: {ratio(total, many, alone)}",
    ]


def main(batch: int = 128, rounds: int = 5, seconds: float = 1.2, widths: tuple[int, ...] = (16, 8)) -> list[str]:
    """Lines for the report."""
    return [line for width in widths for line in measure(width, batch, rounds, seconds)]


if __name__ == "__main__":
    import many_networks  # workers find what they do by its module's name, which is not that of a script

    print("\n".join(many_networks.main()))
