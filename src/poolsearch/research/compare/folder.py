"""The folder of a comparison: its paths, and the record of what is compared."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from poolsearch import texts
from poolsearch.errors import PoolsearchError
from poolsearch.research.compare.cases import Case, Charged, without_method
from poolsearch.settings import Settings
from poolsearch.settings.research_groups import CompareSettings
from poolsearch.storage.files import read_json, write_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import changed_text, check_free, differences, is_free, option_words, typed


@dataclass(frozen=True)
class ComparisonDir:
    """Where things lie in the folder of a comparison."""

    root: Path

    @property
    def record(self) -> Path:
        return self.root / "compare.json"

    @property
    def truth(self) -> Path:
        return self.root / "truth"

    @property
    def comparison(self) -> Path:
        return self.root / "comparison.json"

    def run(self, case: Case, seed: int) -> Path:
        """The run folder of a case and a seed.

        Args:
            case: of the comparison.
            seed: number of the run, from 0.

        Returns:
            ``runs/CASE/SEED``; it may not exist yet.
        """
        return self.root / "runs" / case.folder / str(seed)

    def result(self, case: Case, seed: int) -> Path:
        """The file with what a run found; where it is, the run has ended.

        Args:
            case, seed: as in :meth:`run`.

        Returns:
            ``result.json`` in the run's folder; it may not exist yet.
        """
        return self.run(case, seed) / "result.json"


@dataclass(frozen=True)
class ComparisonRequest:
    """What is compared.

    Attributes:
        settings: of all runs.
        options: which methods, seeds and ground truth.
        charged: which scores count as work; a comparison keeps to what it was begun with.
    """

    settings: Settings
    options: CompareSettings
    charged: Charged = "used"

    @property
    def command(self) -> str:
        """The command that makes the comparison again."""
        groups = dataclasses.fields(CompareSettings)
        own = ((field.name, getattr(self.options, field.name)) for field in groups)
        words = [word for name, value in own if value is not None for word in option_words(name, value)]
        return texts.command("compare", *words, *typed(self.settings))

    def to_dict(self) -> dict[str, Any]:
        """As JSON values.

        Returns:
            What compare.json has, but for the version: ``given``, ``compare`` and ``charged``.
        """
        return {"given": self.settings.to_dict(), "compare": dataclasses.asdict(self.options), "charged": self.charged}


def read_request(folder: ComparisonDir) -> ComparisonRequest:
    """What the comparison in a folder was asked for.

    Args:
        folder: of the comparison.

    Returns:
        As its compare.json has it; one of an older version without ``charged`` counted all scores.

    Raises:
        PoolsearchError: there is none, or its record is damaged.
    """
    if not folder.record.exists():
        raise PoolsearchError(
            f"nothing to resume in {folder.root}: it holds no comparison (no compare.json). Begin one: "
            + texts.command("compare", "--out", folder.root)
        )
    record = read_json(folder.record)
    try:
        options = record["compare"] | {"methods": tuple(record["compare"]["methods"])}
        charged = record.get("charged", "all")  # older versions did not tell them apart
        return ComparisonRequest(
            without_method(Settings.from_record(record["given"])), CompareSettings(**options), charged
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise PoolsearchError(
            f"{folder.record} is damaged ({error!r}). Restore it, or begin anew with --out."
        ) from None


def begin(folder: ComparisonDir, asked: ComparisonRequest) -> None:
    """Write down a new comparison.

    Args:
        folder: new or empty.
        asked: what is compared; it is written as compare.json.

    Raises:
        PoolsearchError: the folder is not free.
    """
    if folder.record.exists():
        raise PoolsearchError(
            f"{folder.root} holds a comparison already. Go on with it by --resume, or choose another --out."
        )
    check_free(RunDir(folder.root))
    _write(folder, asked)


def resume_request(folder: ComparisonDir, asked: ComparisonRequest | None, keep: bool = True) -> ComparisonRequest:
    """What a comparison goes on with: methods, seeds and truth may be others than before, its settings may not.

    Args:
        folder: of the comparison.
        asked: what was asked for now; None is what it was begun with.
        keep: write it down, as what the comparison goes on with the next time.

    Returns:
        What to compare, by the scores that counted as work when it was begun.

    Raises:
        PoolsearchError: a setting differs; all that do are named.
    """
    before = read_request(folder)
    if asked is None:
        return before
    asked = dataclasses.replace(asked, charged=before.charged)
    if asked == before:
        return before
    changed = [change for change in differences(before.settings, asked.settings) if not is_free(change[1])]
    if changed:
        named = "; ".join(changed_text(f"--{name.replace('_', '-')}", old, new) for _, name, old, new in changed)
        raise PoolsearchError(
            f"{folder.root} compares with other settings: {named}. Resume without these flags, give them to single "
            "methods (--methods spos:lr=0.05), or begin a new comparison with --out."
        )
    if keep:
        _write(folder, asked)
    return asked


def _write(folder: ComparisonDir, asked: ComparisonRequest) -> None:
    write_json(folder.record, {"poolsearch": version("poolsearch")} | asked.to_dict())


def results(folder: ComparisonDir, cases: Sequence[Case], seeds: int) -> dict[tuple[str, int], dict[str, Any]]:
    """What every run that has ended found.

    Args:
        folder: of the comparison.
        cases: whose runs are looked for.
        seeds: how many runs there are of each, numbered from 0.

    Returns:
        The contents of result.json by the spec of the case and the seed; a run that has not ended is not in it.
    """
    paths = {(case.spec, seed): folder.result(case, seed) for case in cases for seed in range(seeds)}
    return {key: read_json(path) for key, path in paths.items() if path.exists()}
