"""Where things lie in a run folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from poolsearch.errors import PoolsearchError
from poolsearch.storage.digests import NAME


@dataclass(frozen=True)
class RunDir:
    """Where things lie in ``runs/NAME/``. Everything is readable without this package."""

    root: Path

    @property
    def run(self) -> Path:
        return self.root / "run.json"

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.json"

    @property
    def split(self) -> Path:
        return self.root / "split.json"

    @property
    def images(self) -> Path:
        return self.root / "images.parquet"

    @property
    def duplicates(self) -> Path:
        return self.root / "duplicates.json"

    @property
    def skipped(self) -> Path:
        return self.root / "skipped.json"

    @property
    def costs(self) -> Path:
        return self.root / "costs.parquet"

    @property
    def events(self) -> Path:
        return self.root / "events.jsonl"

    @property
    def scores(self) -> Path:
        return self.root / "scores.parquet"

    @property
    def filters(self) -> Path:
        return self.root / "filters.csv"

    @property
    def relaxed(self) -> Path:
        return self.root / "relaxed.json"

    @property
    def ranking(self) -> Path:
        return self.root / "ranking.csv"

    @property
    def ranking_summary(self) -> Path:
        return self.root / "ranking.json"

    @property
    def members(self) -> Path:
        return self.root / "members.csv"

    @property
    def checkpoint(self) -> Path:
        return self.root / "checkpoint" / "search.safetensors"

    @property
    def ranking_progress(self) -> Path:
        return self.root / "checkpoint" / "rank.safetensors"

    @property
    def sweep(self) -> Path:
        return self.root / "sweep"

    @property
    def sweep_table(self) -> Path:
        return self.root / "sweep.csv"

    @property
    def trials(self) -> Path:
        return self.root / "trials"

    @property
    def trials_record(self) -> Path:
        return self.root / "trials.json"

    @property
    def retrain(self) -> Path:
        return self.root / "retrain"

    @property
    def test(self) -> Path:
        return self.root / "test.json"

    @property
    def report(self) -> Path:
        return self.root / "report.html"

    @property
    def figures(self) -> Path:
        return self.root / "figures"

    @property
    def export(self) -> Path:
        return self.root / "export"

    def remove_record(self) -> None:
        """Remove what is written before any work begins."""
        begun = self.run, self.config, self.split, self.images, self.duplicates, self.skipped, self.costs
        for path in (*begun, self.root / NAME):
            path.unlink(missing_ok=True)


def new_folder(name: str) -> Path:
    """A place for a run that has none yet.

    Args:
        name: what it is about, such as the name of its data.

    Returns:
        The path of a folder in ``runs/`` that is not there yet, with this name and a number where it is taken.
    """
    free = (Path("runs") / (name if i == 1 else f"{name}-{i}") for i in range(1, 10_000))
    return next(path for path in free if not path.exists())


def newest_folder(record: str = "run.json", what: str = "run") -> Path:
    """What was worked on last.

    Args:
        record: the file that tells its folder from others.
        what: it is, for the error.

    Returns:
        The path of a folder in ``runs/``.

    Raises:
        PoolsearchError: there is none.
    """
    runs = sorted(Path("runs").glob(f"*/{record}"), key=lambda p: p.stat().st_mtime)
    if not runs:
        raise PoolsearchError(f"there is no {what} in runs/ to go on with. Name its folder with --out.")
    return runs[-1].parent
