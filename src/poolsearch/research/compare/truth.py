"""The ground truth of a comparison: a table that there is, and trainings of what it lacks, by the same recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from poolsearch.errors import PoolsearchError
from poolsearch.evaluation.ground_truth import TABLE6, GroundTruth, MeasuredPlacement, ground_truth, measured_placement
from poolsearch.session.run import Run
from poolsearch.settings import Settings
from poolsearch.settings.check import with_method
from poolsearch.settings.methods import flag
from poolsearch.settings.research_groups import CompareSettings
from poolsearch.space import FreeSpace, Placement
from poolsearch.stages.standalone.rung import train_placements, trained_before
from poolsearch.storage.files import read_json
from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.run_record import saved_settings

PICKS, ALL = "picks", "all"
_SAME = (
    "subset",
    "metric",
    "image_size",
    "fit",
    "channels",
    "value_range",
    "augment",
    "net",
    "width",
    "op",
    "init",
    "init_key",
    "search_stem",
    "blocks",
    "axes",
    "halvings",
    "zero_init",
)


@dataclass(frozen=True)
class ComparisonTruth:
    """What is known of placements trained alone.

    Attributes:
        source: for people.
        of: by placement, as files write it.
        whole: whether every placement of the space is known.
    """

    source: str
    of: Mapping[str, MeasuredPlacement]
    whole: bool


def ground_truth_settings(settings: Settings, options: CompareSettings) -> Settings:
    """The settings of a sweep in benchmark mode by which placements are trained alone.

    Args:
        settings: of the comparison.
        options: where they name the folder of a sweep, its settings are taken.

    Returns:
        Settings as given, with the images of the comparison and, of a named sweep, its own seed.

    Raises:
        PoolsearchError: that sweep is of another network or of other images.
    """
    if options.truth in (PICKS, ALL, TABLE6):
        return with_method(settings, "sweep").changed(sweep_mode="benchmark", paths="restricted")
    before = saved_settings(Path(options.truth).expanduser())
    if before.search.method != "sweep" or before.alone.sweep_mode != "benchmark":
        raise PoolsearchError(
            f"--truth {options.truth} is no sweep in benchmark mode. Make one with poolsearch search --method sweep "
            "--sweep-mode benchmark, or use --truth picks or all."
        )
    now, then = ({name: value for _, name, value in each.flat()} for each in (settings, before))
    other = [f"--{flag(name)} {then[name]} there, {now[name]} here" for name in _SAME if now[name] != then[name]]
    if other:
        raise PoolsearchError(
            f"--truth {options.truth} is of another network or other images: {'; '.join(other)}. Compare with these "
            "settings, or use --truth picks."
        )
    machine = replace(settings.machine, seed=before.machine.seed)
    return replace(before, data=settings.data, machine=machine)


def known_truth(options: CompareSettings, run: Run) -> ComparisonTruth:
    """What is known before anything is trained for the comparison.

    Args:
        options: of the comparison; they name the ground truth.
        run: that in which placements are trained alone.

    Returns:
        The table that ``options`` name; nothing where its placements are to be trained for this comparison.

    Raises:
        PoolsearchError: the sweep has not ended, or is of other images.
    """
    if options.truth in (PICKS, ALL):
        return ComparisonTruth("trainings of this comparison", {}, False)
    table = ground_truth(options.truth)
    if options.truth != TABLE6:
        _check_images(Path(options.truth).expanduser(), run)
    return _truth(_named(table), table.by_placement, run)


def complete_truth(
    truth: ComparisonTruth, run: Run, wanted: Iterable[str], options: CompareSettings, train: bool = True
) -> ComparisonTruth:
    """The truth with what is wanted and was not known: that is trained now, unless the table is the paper's.

    Args:
        truth: what is known.
        run: in which placements are trained alone.
        wanted: placements, as files write them.
        options: of the comparison.
        train: else only what has been trained so far is added.

    Returns:
        All that is known now.

    Raises:
        Interrupted: stopped on request; the state is saved.
    """
    if options.truth == TABLE6:
        return truth
    wanted = [*(map(str, run.space) if options.truth == ALL else ()), *wanted]
    missing = [Placement.parse(name) for name in dict.fromkeys(wanted) if name not in truth.of]
    outside = any(placement not in run.space for placement in missing)
    wide = replace(run, space=FreeSpace.of(run.space)) if outside else run
    values = train_placements(wide, missing) if train else trained_before(wide, missing)
    new = {str(p): measured_placement(str(p), wide.costs.macs(p), found) for p, found in values.items()}
    return _truth(truth.source, {**truth.of, **new}, run)


def _truth(source: str, known: Mapping[str, MeasuredPlacement], run: Run) -> ComparisonTruth:
    return ComparisonTruth(source, known, all(str(placement) in known for placement in run.space))


def _named(table: GroundTruth) -> str:
    return "Table 6 of the paper" if table.source.startswith("Table 6") else f"the sweep in {Path(table.source).name}"


def _check_images(folder: Path, run: Run) -> None:
    there, here = (read_json(RunDir(root).run).get("data", {}).get("fingerprint") for root in (folder, run.dir.root))
    if there != here:
        raise PoolsearchError(
            f"--truth {folder} was made with other images. Give the same --data and --subset, or use --truth picks."
        )
