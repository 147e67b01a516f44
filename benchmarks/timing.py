"""Ratios measured in one process: the works take turns, so that whatever else the machine does meets all of them."""

from __future__ import annotations

import platform
import statistics
import time
from collections.abc import Callable, Mapping
from importlib.metadata import version

import torch

Work = Callable[[], object]
Seconds = dict[str, list[float]]


def alternate(works: Mapping[str, Work], rounds: int) -> Seconds:
    """Seconds of each work in each round, after one round that is not counted; every round begins with another work."""
    names = list(works)
    seconds: Seconds = {name: [] for name in names}
    for round_ in range(rounds + 1):
        for i in range(len(names)):
            name = names[(i + round_) % len(names)]
            start = time.perf_counter()
            works[name]()
            if round_:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def ratio(seconds: Seconds, above: str, below: str) -> str:
    """Median, least and largest over the rounds of ``above`` / ``below``."""
    values = sorted(a / b for a, b in zip(seconds[above], seconds[below], strict=True))
    return f"{statistics.median(values):.3f} ({values[0]:.3f} to {values[-1]:.3f}, {len(values)} rounds)"


def each(seconds: Seconds, units: int, scale: float = 1e3, unit: str = "ms") -> str:
    """Median time of each work per unit of work."""
    return ", ".join(f"{name} {statistics.median(s) / units * scale:.3g} {unit}" for name, s in seconds.items())


def machine() -> str:
    """What the figures were measured on."""
    with open("/proc/cpuinfo", encoding="utf-8") as handle:
        cpu = next((line.split(":", 1)[1].strip() for line in handle if line.startswith("model name")), "unknown")
    return (
        f"{cpu}, {torch.get_num_threads()} threads, Python {platform.python_version()}, torch {torch.__version__}, "
        f"poolsearch {version('poolsearch')}"
    )
