"""How the trainings of a sweep stand while they are under way, and when they will have ended, whoever does them."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from poolsearch.evaluation.ground_truth import MeasuredPlacement, measured_placement
from poolsearch.inspection_results import duration_text
from poolsearch.progress import Progress, ProgressTable, Update
from poolsearch.stages.standalone.trial import Trial

_BEST = 8
_LOOK_SECONDS = 5.0
_LOOK_SHARE = 0.05  # on a slow shared folder, looking after the others must not take more of the time than this


class SweepProgress:
    """A progress that shows what it is told, and a table of the trainings besides.

    Other processes on the same folder are seen by their files: trainings that they end are in the table, and count
    for the expected finish. That takes the work that is left, in MACs, at the mean speed since this began.

    Args:
        progress: where all is shown.
        label: the name of all trainings together.
        measure: by what they are compared, in words.
        macs_of: of every training, also of those that have ended.
        ended: how good those are that have ended before, as fractions.
        value: how good a training is, by its files; None as long as it has not ended.
        held: whether some process is at it.
        later: how many trainings follow after these; they count for the expected finish, at the mean MACs.
    """

    def __init__(
        self,
        progress: Progress,
        label: str,
        measure: str,
        macs_of: Mapping[Trial, int],
        ended: Mapping[Trial, float],
        value: Callable[[Trial], float | None],
        held: Callable[[Trial], bool],
        later: int = 0,
    ) -> None:
        self._progress, self._label, self._measure = progress, label, measure
        self._macs_of, self._value_of = macs_of, dict(ended)
        self._value, self._held = value, held
        self._total = len(macs_of) + later
        self._named = {str(trial): trial for trial in macs_of}
        self._share: dict[Trial, float] = {}  # how far those are that are run here
        self._before = float(sum(macs_of[trial] for trial in ended))  # MACs that were done before this began
        self._elsewhere = 0
        self._began = time.monotonic()
        self._next_look = self._began

    def say(self, text: str) -> None:
        self._progress.say(text)

    def table(self, table: ProgressTable, line: str = "") -> None:
        self._progress.table(table, line)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        trial, first = self._named.get(label), True
        with self._progress.bar(label, total) as inner:
            if trial is not None:
                self._share[trial] = 0.0

            def update(done: float, note: str) -> None:
                nonlocal first
                inner(done, note)
                if trial is not None:
                    if first:  # a training that is gone on with: what it brings was not done since this began
                        self._before += done / total * self._macs_of[trial]
                    self._share[trial], first = done / total, False
                if time.monotonic() >= self._next_look:
                    self._look()

            yield update

    def ended(self, trial: Trial, value: float) -> None:
        """A training has ended, here or elsewhere, and is so good; told twice it counts once.

        Args:
            trial: the training.
            value: its metric, as a fraction.
        """
        if trial in self._value_of:
            return
        by = "" if trial in self._share else " by another process"
        self._share.pop(trial, None)
        self._value_of[trial] = value
        count = f"{self._label}: {len(self._value_of):,} of {self._total:,}"
        line = f"{trial}{by}: {self._measure} {100 * value:.2f} % ({count}; {self._finish(short=True)})"
        self._progress.table(self._standing(), line)

    def _look(self) -> None:
        """See what others have ended and begun."""
        began = time.monotonic()
        for trial in self._macs_of:
            if trial not in self._value_of and (value := self._value(trial)) is not None:
                self.ended(trial, value)
        others = (trial for trial in self._macs_of if trial not in self._value_of and trial not in self._share)
        self._elsewhere = sum(map(self._held, others))
        self._progress.table(self._standing())
        now = time.monotonic()
        self._next_look = now + max(_LOOK_SECONDS, (now - began) / _LOOK_SHARE)

    def _standing(self) -> ProgressTable:
        seeds = len({trial.seed for trial in self._macs_of})
        title = (
            f"{self._label}: {len(self._value_of):,} of {self._total:,} trainings have ended, "
            f"{len(self._share):,} run here, {self._elsewhere:,} elsewhere; {self._finish()}"
        )
        rows = [
            (known.placement, f"{100 * known.mean:.2f} %", f"{known.n} of {seeds}", f"{known.macs:,}")
            for known in best_first(self._value_of, self._macs_of)[:_BEST]
        ]
        return ProgressTable(title, ("best so far", self._measure, "seeds", "MACs"), rows)

    def _finish(self, short: bool = False) -> str:
        if len(self._value_of) == self._total:
            return "all have ended"
        done = float(sum(self._macs_of[trial] for trial in self._value_of))
        done += sum(share * self._macs_of[trial] for trial, share in self._share.items())
        whole = sum(self._macs_of.values()) * self._total / len(self._macs_of)
        left = max(0.0, whole - done)
        reached, elapsed = done - self._before, time.monotonic() - self._began
        return finish_time(datetime.now(), left * elapsed / reached if reached > 0 else None, short)


def best_first(value_of: Mapping[Trial, float], macs_of: Mapping[Trial, int]) -> list[MeasuredPlacement]:
    """Placements with what is known of them, the best mean first; a tie is decided by fewer MACs.

    Args:
        value_of: how good each training is that has ended, as a fraction.
        macs_of: of these trainings at least.

    Returns:
        Each placement once, its trainings together.
    """
    values: dict[tuple[str, int], list[float]] = {}
    for trial, value in value_of.items():
        values.setdefault((trial.placement.shown, macs_of[trial]), []).append(value)
    found = [measured_placement(placement, macs, own) for (placement, macs), own in values.items()]
    return sorted(found, key=lambda known: (-known.mean, known.macs))


def finish_time(now: datetime, seconds: float | None, short: bool = False) -> str:
    """When something ends that takes so many seconds more, by the clock; with ``short`` no more than that.

    Args:
        now: the local time.
        seconds: from now on; None: not known.
        short: leave out how long it takes.

    Returns:
        As ``expected finish 14:05, in 3.4 h``; on another day with weekday and date.
    """
    if seconds is None:
        return "expected finish not known yet"
    at = now + timedelta(seconds=seconds)
    clock = f"{at:%H:%M}" if at.date() == now.date() else f"{at:%a %d %b %H:%M}"
    return f"expected finish {clock}" + ("" if short else f", in {duration_text(seconds)}")
