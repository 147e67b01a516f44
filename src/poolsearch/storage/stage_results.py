"""What stages leave for later ones, read and seen to be whole: run.json, ranking, trainings, the opened test split."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from poolsearch.errors import PoolsearchError
from poolsearch.space import Placement
from poolsearch.storage.files import damaged, read_csv, read_json
from poolsearch.storage.json_shape import Shape, misfit
from poolsearch.storage.run_dir import RunDir
from poolsearch.texts import command

_COPIES = {"exact": int, "near": int}
_STAGE = {"stage": str, "started?": str, "ended?": (str, None), "seconds?": (float, None)}
RUN = {
    "given": {}, "stages": [_STAGE], "warnings": [str], "poolsearch?": str, "digests?": str, "split_hash?": str,
    "settings?": {
        "data?": {"metric?": (str, None), "task?": str}, "search?": {"members?": (int, None), "method?": str},
        "machine?": {"device": str}, "retrain?": {"top_k?": int, "answer_at?": [float]}, "alone?": {},
    },
    "data?": {
        "name": str, "fingerprint": str, "class_names?": [str], "images?": {}, "targets?": str, "metric_name?": str,
        "duplicates?": {"test": _COPIES, "search_val": _COPIES},
    },
    "space?": {"net?": str, "default?": str, "poolings?": int, "covered?": int, "axes?": str, "paths?": str},
    "budget?": ({"given": {}, "before": int, "tried": int, "after": int}, None),
    "init?": ({"sha256": str}, None), "versions?": {}, "hardware?": {},
}  # fmt: skip
"""Of run.json, that which is read."""
RUN_SHOWN = {key if key.endswith("?") else f"{key}?": shape for key, shape in RUN.items()}
"""The same for a page, which is written of whatever there is."""

SUMMARY = {
    "placements?": int, "images?": int, "method?": str, "mode?": str, "norm?": str, "finished?": int, "rungs?": [{}],
    "rank_by?": str, "against?": str, "trust?": (float, None), "noise?": (float, None), "trials?": int,
    "tau_score_accuracy?": (float, None), "tau_macs_accuracy?": (float, None),
    "early_stop?": ({"stopped": int, "images_saved": float, "error": float, "top": int}, None),
}  # fmt: skip
"""Of ranking.json, that which is read."""

EVENT = {
    "epoch": int, "step?": int, "seconds?": float, "learning_rate?": (float, None), "inv_temp?": (float, None),
    "train_loss?": (float, None), "val_metric?": (float, None), "val_accuracy?": (float, None),
    "assign_entropy?": (float, None), "weight_entropy?": (float, None), "oldest_score?": (int, None),
    "least_trained?": (int, None), "most_trained?": (int, None), "lock_in_step?": (int, None),
    "balance_iterations?": (float, None), "filters_least_trained?": (int, None), "filters_most_trained?": (int, None),
}  # fmt: skip
"""A line of events.jsonl. Older versions wrote ``val_metric`` under the name ``val_accuracy``."""

RELAXED = {"placement": str, "path": [int], "steps": [int], "weights": [[[(float, None)]]]}
"""relaxed.json."""

_RUNG = {"epochs": int, "correct": int, "value": float, "low": float, "high": float}
METRICS = {
    "placement": str, "seed": int, "epochs": int, "train_loss": (float, None), "image_size?": (int, str),
    "rungs?": [_RUNG],
}  # fmt: skip
"""Of metrics.json, that which is read."""

_DIFFERENCE = {"mean": float, "low": float, "high": float}
_COMPARED = ({"against": str, "difference": _DIFFERENCE, "probability": (float, None)}, None)
_TRIAL = {"placement": str, "seed": int, "accuracy": float, "value?": float, "image_size?": (int, str)}
_RATE = {"recall": (float, None), "precision?": (float, None), "f1?": (float, None)}
RESULTS = {
    "winner": str, "images": int, "verdict": str, "top1": float, "best_of_top": float, "mean_of_top": float,
    "trials": [_TRIAL], "difference?": (_DIFFERENCE, None), "notes?": [str],
    "summary": [{
        "placement": str, "rank": (int, None), "is_default": bool, "mean": float, "std": (float, None), "n": int,
        "macs?": int, "macs_ratio": float,
    }],
    "classes?": [{"class": str, "images": int, "winner": _RATE, "default": _RATE}],
    "answers?": [{
        "limit": (float, None), "placement": (str, None), "default?": _COMPARED, "equal_macs?": _COMPARED,
        "adjusted_p?": (float, None), "better?": bool,
    }],
    "controls?": [{
        "control": str, "why_not": (str, None), "trials": [_TRIAL], "winner?": _COMPARED, "mean?": float,
        "std?": (float, None), "n?": int, "macs_ratio?": float,
    }],
}  # fmt: skip
"""Of test.json, that which is read when all is evaluated."""

OPENING = {
    "opened": str, "winner?": str, "images?": int, "verdict?": str,
    "answers?": [{"limit": (float, None), "placement": (str, None)}],
    "seeds?": int, "top_k?": int, "level?": (float, None), "seen?": int, "earlier?": [{"opened": str} | RESULTS],
}  # fmt: skip
"""Of test.json, that which is written before the split is opened."""


def read_object(path: Path, shape: Shape) -> dict[str, Any]:
    """Read a JSON file of a known shape.

    Args:
        path: of the file.
        shape: of an object, see :data:`poolsearch.storage.json_shape.Shape`.

    Returns:
        The value, with what else is in it.

    Raises:
        PoolsearchError: it is missing or damaged, or has another shape.
    """
    value = read_json(path)
    if (wrong := misfit(value, shape)) is not None:
        raise damaged(path, wrong)
    return value


def read_ranking(files: RunDir) -> list[dict[str, str]]:
    """Read ranking.csv.

    Args:
        files: of a run.

    Returns:
        Its rows, best first: a text for each column.

    Raises:
        PoolsearchError: there is none, or it is damaged.
    """
    if not files.ranking.exists():
        raise PoolsearchError(f"{files.root} has no ranking yet. Run: {command('rank', '--out', files.root)}")
    rows = read_csv(files.ranking, ("rank", "placement", "number", "macs", "macs_ratio"))
    for place, row in enumerate(rows, 1):
        if row["rank"] != str(place):
            raise damaged(files.ranking, f"line {place + 1} has the rank {row['rank']!r}, not {place}")
        for name in ("macs", "macs_ratio"):
            if not _positive(row[name]):
                raise damaged(files.ranking, f"line {place + 1}: {name} is {row[name]!r}")
    if not rows:
        raise damaged(files.ranking, "it holds no placement")
    if files.ranking_summary.exists():
        wanted = read_object(files.ranking_summary, {"placements?": int}).get("placements", len(rows))
        if wanted != len(rows):
            raise damaged(files.ranking, f"it has {len(rows):,} placements, and by ranking.json {wanted:,}")
    return rows


def _positive(text: str) -> bool:
    try:
        return 0 < float(text) < math.inf
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class MemberEvaluation:
    """A placement in one member of a mixture, on the search-val images that it was evaluated on: a line of members.csv.

    Attributes:
        placement: as files write it.
        number: of the placement, in the run's space.
        member: from 0.
        val_metric: the value of ``--metric``.
        val_accuracy: always the accuracy.
        low, high: the 95% interval of ``val_metric``.
        images: how many; fewer than others have where it was stopped early.
        score: of the search, free of the initial score; None for a pair never scored.
        assignment: p(member given placement) at the end of the search.
        control: whether the placement is one of the random control group.
    """

    placement: str
    number: int
    member: int
    val_metric: float
    val_accuracy: float
    low: float
    high: float
    images: int
    score: float | None
    assignment: float
    control: bool


MEMBER_COLUMNS = tuple(field.name for field in dataclasses.fields(MemberEvaluation))
"""Of members.csv."""


def read_members(files: RunDir) -> list[MemberEvaluation]:
    """Read members.csv: what each member of a mixture makes of each placement that it evaluated.

    Args:
        files: of a run that was ranked by supernets.

    Returns:
        Its lines, by number of the placement, members ascending.

    Raises:
        PoolsearchError: there is none, or it is damaged.
    """
    found: list[MemberEvaluation] = []
    for line, row in enumerate(read_csv(files.members, MEMBER_COLUMNS), 2):
        try:
            found.append(MemberEvaluation(
                placement=row["placement"], number=int(row["number"]), member=int(row["member"]),
                val_metric=float(row["val_metric"]), val_accuracy=float(row["val_accuracy"]), low=float(row["low"]),
                high=float(row["high"]), images=int(row["images"]), score=float(row["score"]) if row["score"] else None,
                assignment=float(row["assignment"]), control=row["control"] == "True",
            ))  # fmt: skip
        except ValueError as error:
            raise damaged(files.members, f"line {line}: {error}") from None
    if not found:
        raise damaged(files.members, "it holds no placement")
    return found


def read_metrics(folder: Path) -> dict[str, Any]:
    """Read metrics.json of a training.

    Args:
        folder: of the training, ``PLACEMENT/SEED`` or ``PLACEMENT@SIZE/SEED``.

    Returns:
        Its value.

    Raises:
        PoolsearchError: it is missing, damaged, or of another training.
    """
    path = folder / "metrics.json"
    found = read_object(path, METRICS)
    name, _, size = folder.parent.name.partition("@")
    there = Placement.parse(found["placement"]).file_name, str(found["seed"])
    if there != (name, folder.name) or (size and str(found.get("image_size", size)) != size):
        raise damaged(path, f"it is of {found['placement']} seed {found['seed']}, not of {folder.parent.name}")
    return found


def read_opening(files: RunDir) -> dict[str, Any]:
    """Read test.json: when and for what the test split was opened, and the results so far.

    Args:
        files: of a run.

    Returns:
        Its value; empty where the split was not opened.

    Raises:
        PoolsearchError: it is damaged.
    """
    return read_object(files.test, OPENING) if files.test.exists() else {}


def looks_of(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Every look at the test split that ``test.json`` tells of.

    Args:
        test: its value, as :func:`read_opening` gives it.

    Returns:
        What was written at each, the first first; only the last may be without a verdict yet. Empty where the split was
        not opened.
    """
    newest = {name: value for name, value in test.items() if name != "earlier"}
    return [*test.get("earlier", []), *([newest] if newest else [])]


def judged_looks(test: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The looks at the test split that have their verdict.

    Args:
        test: as of :func:`looks_of`.

    Returns:
        As :func:`looks_of`.
    """
    return [look for look in looks_of(test) if "verdict" in look]


def seeds_of(look: Mapping[str, Any]) -> int:
    """With how many seeds the networks of a look were trained.

    Args:
        look: one that was judged.

    Returns:
        The number of seeds.
    """
    return int(look["seeds"]) if "seeds" in look else max(entry["n"] for entry in look["summary"])


def top_k_of(look: Mapping[str, Any]) -> int:
    """How many of the first of the ranking were trained for a look.

    Args:
        look: one that was judged.

    Returns:
        What was asked for; of older versions, which do not say so, what there is.
    """
    ranks = {entry["rank"] for entry in look["summary"]}
    first_missing = next(rank for rank in range(1, len(ranks) + 2) if rank not in ranks)
    return int(look.get("top_k", first_missing - 1))
