"""Ground truth: how good each placement is, trained stand-alone. Table 6 of the paper, or the folder of a sweep."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from poolsearch.errors import PoolsearchError
from poolsearch.storage.files import read_csv, read_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.texts import command

Floats = NDArray[np.float64]

TABLE6 = "table6"
"""The name of the paper's table, where a sweep's folder could stand."""

Part = Literal["test", "val"]
_DAMAGED = (KeyError, ValueError)


@dataclass(frozen=True)
class MeasuredPlacement:
    """What is known of a placement.

    Attributes:
        placement: as files write it.
        macs: of one forward pass on one image.
        mean: of its trainings, in the metric, as a fraction.
        std: standard deviation of its trainings; None where there is one training.
        n: how many trainings.
        values: of each training; empty where only mean and deviation are known.
    """

    placement: str
    macs: int
    mean: float
    std: float | None
    n: int
    values: tuple[float, ...] = ()


@dataclass(frozen=True)
class GroundTruth:
    """Placements in the order of their numbers.

    Attributes:
        source: where it is from, for people.
        default: the network's own placement.
        part: the images that it is measured on: test (benchmark), or search-val.
        known: one entry for each placement.
    """

    source: str
    default: str
    part: Part
    known: tuple[MeasuredPlacement, ...]

    @classmethod
    def table6(cls) -> GroundTruth:
        """Table 6 of the paper: ResNet20 on CIFAR-10, 36 placements, test accuracy of three trainings each.

        The MACs are ours (32x32 pixels, 10 classes).

        Returns:
            The table as this package carries it, with ``mean`` and ``std`` of each placement but no single trainings.
        """
        text = resources.files("poolsearch.evaluation").joinpath("table6.csv").read_text(encoding="utf-8")
        known = [
            MeasuredPlacement(row["placement"], int(row["macs"]), float(row["mean"]), float(row["std"]), 3)
            for row in csv.DictReader(text.splitlines())
        ]
        return cls("Table 6 of the paper", "4,3,3", "test", tuple(known))

    @classmethod
    def of_sweep(cls, folder: Path) -> GroundTruth:
        """The trainings of a sweep that has ended, in either mode.

        Args:
            folder: the run folder of the sweep; its ``sweep.csv`` is read.

        Returns:
            The table of what was trained, measured on the test images (benchmark mode) or on search-val.

        Raises:
            PoolsearchError: there is no finished sweep in the folder, or its files are damaged.
        """
        files = RunDir(folder)
        again = command("search", "--resume", "--out", folder)
        if not files.sweep_table.exists():
            unfinished = f"Finish it with {again}" if files.run.exists() else "Make one"
            raise PoolsearchError(
                f"{folder} holds no finished sweep (no sweep.csv). {unfinished}, or with poolsearch search --method "
                f"sweep --out FOLDER, or take the paper's: {TABLE6}."
            )
        default = str(read_json(files.run).get("space", {}).get("default", "")) if files.run.exists() else ""
        try:
            rows = read_csv(files.sweep_table, ("placement", "number", "seed", "macs", "part", "metric"))
            known = sorted(_known(rows).items())
            part: Part = "test" if rows[0]["part"] == "test" else "val"
        except (*_DAMAGED, IndexError) as error:
            raise PoolsearchError(
                f"{files.sweep_table} is damaged ({error!r}). Delete it and write it anew: {again}"
            ) from error
        return cls(str(folder), default, part, tuple(entry for _, entry in known))

    @cached_property
    def by_placement(self) -> dict[str, MeasuredPlacement]:
        """The entries by their placement."""
        return {entry.placement: entry for entry in self.known}

    @property
    def placements(self) -> list[str]:
        """All of them, in the order of their numbers."""
        return [entry.placement for entry in self.known]

    @property
    def mean_A(self) -> Floats:
        """The means, as fractions."""
        return np.array([entry.mean for entry in self.known])

    @property
    def macs_A(self) -> Floats:
        """The MACs."""
        return np.array([entry.macs for entry in self.known], float)

    @property
    def best(self) -> MeasuredPlacement:
        """The placement with the highest mean; a tie is decided by fewer MACs."""
        return max(self.known, key=lambda entry: (entry.mean, -entry.macs))

    @property
    def noise(self) -> float:
        """Standard deviation of one training about its placement's mean, pooled; NaN where no two are known."""
        several = [entry for entry in self.known if entry.std is not None]
        freedom = sum(entry.n - 1 for entry in several)
        if not freedom:
            return math.nan
        return math.sqrt(sum((entry.n - 1) * (entry.std or 0.0) ** 2 for entry in several) / freedom)

    @property
    def value_AS(self) -> Floats | None:
        """Every training by placement and seed; None where they are not known, or not equally many."""
        seeds = {len(entry.values) for entry in self.known}
        return None if len(seeds) != 1 or seeds == {0} else np.array([entry.values for entry in self.known])


def ground_truth(name: str | Path) -> GroundTruth:
    """The table of this name: the paper's, or the folder of a sweep.

    Args:
        name: ``table6``, or the path of a sweep's run folder; ``~`` is expanded.

    Returns:
        The table, its ``source`` naming which of the two it is.

    Raises:
        PoolsearchError: it is neither.
    """
    return GroundTruth.table6() if str(name) == TABLE6 else GroundTruth.of_sweep(Path(name).expanduser())


def measured_placement(placement: str, macs: int, values: Sequence[float]) -> MeasuredPlacement:
    """The entry of a placement with these trainings.

    Args:
        placement: as files write it, such as ``4,3,3``.
        macs: of one forward pass on one image.
        values: the metric of each training, as a fraction; at least one.

    Returns:
        The entry, with their mean and sample standard deviation (None of a single training).
    """
    std = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return MeasuredPlacement(placement, macs, float(np.mean(values)), std, len(values), tuple(values))


def _known(rows: Iterable[Mapping[str, str]]) -> dict[int, MeasuredPlacement]:
    values: dict[tuple[int, str, int], dict[int, float]] = {}
    for row in rows:
        key = int(row["number"]), row["placement"], int(row["macs"])
        values.setdefault(key, {})[int(row["seed"])] = float(row["metric"])
    return {
        number: measured_placement(placement, macs, [found[seed] for seed in sorted(found)])
        for (number, placement, macs), found in values.items()
    }
