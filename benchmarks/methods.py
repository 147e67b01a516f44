"""(k) A step of each method against one of SPOS, and the memory it takes: in one process, and in turns."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from allocated import most_allocated
from poolsearch.nets.poolable import parameters_of
from poolsearch.progress import SilentProgress
from poolsearch.session.open_run import open_run
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.settings.methods import kind_of
from poolsearch.stages.relax import RelaxedTraining
from poolsearch.stages.search import SearchTraining
from search_step import images
from timing import Seconds, alternate

CASES: dict[str, dict[str, Any]] = {
    "spos": {"method": "spos"},
    "spos, own weights": {"method": "spos", "sharing": "random-init"},
    "spos, own weights, all paths": {"method": "spos", "sharing": "random-init", "paths": "any"},
    "bse": {"method": "bse"},
    "mcts": {"method": "mcts"},
    "mixture of 4": {"method": "mixture", "members": 4},
    "darts": {"method": "darts"},
    "darts, second order": {"method": "darts", "arch_order": 2},
    "darts, own weights": {"method": "darts", "sharing": "random-init"},
    "gaea": {"method": "gaea"},
}


def stepper(run: Run) -> tuple[Callable[[], None], int]:
    """A call that does the next step of a method's own task; and the bytes of its weights and their momentum."""
    relaxed = kind_of(run.settings.search.method) == "relaxed"
    task = RelaxedTraining(run) if relaxed else SearchTraining(run)
    count: Iterator[int] = iter(range(10**9))
    supernets = [task.supernet] if isinstance(task, RelaxedTraining) else task.members
    return lambda: task.step(next(count)), sum(8 * parameters_of(supernet) for supernet in supernets)


def _line(name: str, seconds: Seconds, kept: dict[str, int], most: dict[str, int], steps: int) -> str:
    times = sorted(a / b for a, b in zip(seconds[name], seconds["spos"], strict=True))
    step = 1e3 * statistics.median(seconds[name]) / steps
    return (
        f"| {name} | {step:.0f} | {statistics.median(times):.2f} ({times[0]:.2f} to {times[-1]:.2f}) "
        f"| {kept[name] / 1e6:.1f} | {most[name] / 1e6:.0f} "
        f"| {(kept[name] + most[name]) / (kept['spos'] + most['spos']):.2f} |"
    )


def main(batch: int = 64, steps: int = 8, rounds: int = 2, **changes: Any) -> list[str]:
    """Lines for the report. Each round of ``steps`` draws its placements as the method does."""
    works: dict[str, Callable[[], object]] = {}
    kept: dict[str, int] = {}
    most: dict[str, int] = {}
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        data = str(images(Path(folder), 20 * batch))
        for i, (name, own) in enumerate(CASES.items()):
            settings = Settings.of(
                preset="paper", data=data, batch=batch, val_batch=batch, augment="crop-flip", net="cifar-resnet20",
                cache_dir=f"{folder}/cache", **changes | own,
            )  # fmt: skip
            run = stack.enter_context(open_run(Path(folder) / str(i), settings, False, SilentProgress()))
            step, kept[name] = stepper(run)
            works[name] = lambda step=step: [step() for _ in range(steps)]
            step()
            # a step takes eightfold more for some placements: the dearest of several counts; relaxed steps are alike
            several = 1 if kind_of(own["method"]) == "relaxed" else 8
            most[name] = max(most_allocated(step) for _ in range(several))
        seconds = alternate(works, rounds)
    return [
        f"cifar-resnet20, {run.machine.precision}, batch {batch}, {steps} steps a round; memory: weights and momentum, "
        "and the most that is given out in a step beside them",
        "",
        "| method | ms a step | against spos | weights, MB | step, MB | memory against spos |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_line(name, seconds, kept, most, steps) for name in CASES),
    ]


if __name__ == "__main__":
    print("\n".join(main()))
