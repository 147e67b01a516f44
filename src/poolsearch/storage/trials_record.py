"""trials.json: which placements were trained alone to learn from, why, and what came of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from poolsearch.storage.run_dir import RunDir
from poolsearch.storage.stage_results import read_object

_PREDICTION = {"mean": float, "low": float, "high": float}
TRIALS = {
    "at_once": int, "epochs": int, "against": str,
    "trials": [{
        "placement": str, "seed": int, "round": int, "why": str, "gain": float, "limit": (float, None),
        "before": _PREDICTION, "after": (_PREDICTION, None), "value": (float, None), "low": (float, None),
        "high": (float, None),
    }],
}  # fmt: skip
"""Of trials.json, that which is read."""


@dataclass(frozen=True)
class Prediction:
    """What is expected of a placement, in points against the reference, and the interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class RecordedTrial:
    """A stand-alone training that was chosen; what came of it is None until it has ended.

    Attributes:
        placement: as files write it.
        seed: of the training; each placement's count from 0.
        round: from 1; those of one round are chosen together, by what the rounds before it showed.
        why: ``default`` or ``promising``.
        gain: points that it promised, as :class:`poolsearch.calibration.choose.Suggestion` has it.
        limit: on MACs, in times the default's, within which it was the most promising; None: none.
        before, after: the prediction for its placement, by the rounds before and after its own.
        value: the metric on the search-val images, a fraction.
        low, high: its 95% interval.
    """

    placement: str
    seed: int
    round: int
    why: str
    gain: float
    limit: float | None
    before: Prediction
    after: Prediction | None = None
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class TrialsRecord:
    """The contents of trials.json.

    Attributes:
        at_once: how many trainings a round has; it stays as it was in the first.
        epochs: of each training.
        against: the placement that predictions are told against: the default, or the nearest to it in MACs that is
            in the space.
        trials: in the order in which they were chosen.
    """

    at_once: int
    epochs: int
    against: str
    trials: Sequence[RecordedTrial]

    def whole_trainings(self, whole_epochs: int) -> float:
        """The work of all trials.

        Args:
            whole_epochs: of a whole training.

        Returns:
            In whole trainings on search-train.
        """
        return len(self.trials) * self.epochs / whole_epochs

    def to_dict(self, whole_epochs: int) -> dict[str, Any]:
        """As JSON values.

        Args:
            whole_epochs: of a whole training, in units of which the work is told.

        Returns:
            Values by their keys.
        """
        return dataclasses.asdict(self) | {"whole_trainings": self.whole_trainings(whole_epochs)}


def read_trials(files: RunDir) -> TrialsRecord | None:
    """Read trials.json.

    Args:
        files: of a run.

    Returns:
        None where nothing was trained to learn from.

    Raises:
        PoolsearchError: it is damaged.
    """
    if not files.trials_record.exists():
        return None
    found = read_object(files.trials_record, TRIALS)
    trials: list[dict[str, Any]] = found["trials"]
    return TrialsRecord(found["at_once"], found["epochs"], found["against"], [recorded_trial(one) for one in trials])


def recorded_trial(one: dict[str, Any]) -> RecordedTrial:
    """A trial from JSON values.

    Args:
        one: by the names of the fields of :class:`RecordedTrial`.

    Returns:
        The trial.

    Raises:
        KeyError, TypeError: a field is missing.
    """
    known = {field.name: one[field.name] for field in dataclasses.fields(RecordedTrial)}
    predicted: dict[str, Any] = {name: one[name] and Prediction(**one[name]) for name in ("before", "after")}
    return RecordedTrial(**{**known, **predicted})
