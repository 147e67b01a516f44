"""Code of the user's own that is told how a run goes: with it MLflow, W&B or another tracker is a few lines."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from poolsearch.errors import PoolsearchError

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class StageEvent:
    """A stage began, or came to its end. One that is stopped or fails has no end, and begins again when it is resumed.

    Attributes:
        folder: of the run. At the end of a stage it has all files that the stage leaves.
        stage: "search", "sweep", "trials", "rank", "retrain" or "report".
        phase: "begin" or "end".
    """

    folder: Path
    stage: str
    phase: Literal["begin", "end"]


@dataclass(frozen=True, kw_only=True)
class TrainingName:
    """Which training an event is of.

    Attributes:
        stage: that it belongs to.
        training: "search" for the supernets; for a stand-alone training its folder in that of the run, such as
            "retrain/4,3,3/0".
        placement: of a stand-alone training, as files write it; None for the supernets.
        seed: of a stand-alone training, from 0; None for the supernets.
    """

    stage: str
    training: str
    placement: str | None = None
    seed: int | None = None


SUPERNETS = TrainingName(stage="search", training="search")


@dataclass(frozen=True, kw_only=True)
class EpochEvent(TrainingName):
    """An epoch ended, and is in ``events.jsonl``.

    Attributes:
        epoch: from 0.
        step: training steps done since the training began; a resumed run goes on counting.
        seconds: since the training began, over all processes that worked on it.
        values: the numbers that ``events.jsonl`` has of the epoch, by name, such as "train_loss"; those that are not
            known yet are left out.
    """

    epoch: int
    step: int
    seconds: float
    values: Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class StepEvent(TrainingName):
    """A training step was done.

    Attributes:
        step: training steps done since the training began; a resumed run goes on counting.
        loss: of the step's minibatch, shape (), detached and still on the device: reading it (``float(loss)``) waits
            for the device.
    """

    step: int
    loss: Tensor


@dataclass(frozen=True, kw_only=True)
class TrialEvent(TrainingName):
    """A stand-alone training ended.

    Attributes:
        epochs: that it was trained in all.
        train_loss: mean of the last epoch; NaN where it diverged.
        metric: on the search-val images, a fraction; of a sweep in benchmark mode on the test images. None of a
            retraining: the test split is opened when all have ended, and the stage's end has them in ``test.json``.
    """

    epochs: int
    train_loss: float
    metric: float | None


class Callback:
    """Is told how a run goes. Derive a class, override what you want to know, and give an object of it to
    :func:`poolsearch.run` and the like as ``callbacks=[...]``.

    All methods are called in the process that called :func:`poolsearch.run`, in the order in which things happened. One
    that raises stops the run: the state of what is under way is saved, then the error goes on to the caller, and the
    run can be resumed. ``raise poolsearch.Interrupted`` is how to stop without an error of one's own.

    What was done since the last checkpoint is done again after a crash, and told again with the same numbers of steps.
    """

    def on_stage(self, event: StageEvent) -> None:
        """A stage began, or came to its end.

        Args:
            event: which.
        """

    def on_epoch(self, event: EpochEvent) -> None:
        """An epoch ended, of supernets or of a stand-alone training.

        Args:
            event: what ``events.jsonl`` has of it.
        """

    def on_step(self, event: StepEvent) -> None:
        """A training step was done.

        Steps of trainings by worker processes are not told: ``workers=1`` trains in this process. Where no callback
        overrides this method, no event is made.

        Args:
            event: the step, and its loss.
        """

    def on_trial(self, event: TrialEvent) -> None:
        """A stand-alone training ended: of a sweep (at the end of each rung), of the trials, or of the retraining.

        Args:
            event: which, and how good it is.
        """


@dataclass(frozen=True)
class Watch:
    """Who is told how one training goes.

    Attributes:
        name: of the training.
        epoch: is given its epochs.
        step: is given its steps; None where nobody asks.
    """

    name: TrainingName
    epoch: Callable[[EpochEvent], None]
    step: Callable[[StepEvent], None] | None = None

    def epoch_ended(self, epoch: int, step: int, seconds: float, logged: Mapping[str, Any]) -> None:
        """Tell an epoch.

        Args:
            epoch: from 0.
            step: training steps done.
            seconds: since the training began.
            logged: what is written down of it beside these; what is no number is not told.
        """
        values = {name: float(value) for name, value in logged.items() if isinstance(value, (int, float))}
        self.epoch(EpochEvent(**vars(self.name), epoch=epoch, step=step, seconds=seconds, values=values))


class Callbacks:
    """The callbacks of a run, each told in turn.

    Args:
        callbacks: objects of classes derived from :class:`Callback`.

    Raises:
        PoolsearchError: one is something else.
    """

    def __init__(self, callbacks: Sequence[Callback] = ()) -> None:
        given: Any = callbacks
        if not isinstance(given, (list, tuple)):
            raise PoolsearchError(f"callbacks is {given!r}; it must be a list of them: callbacks=[...].")
        for one in callbacks:
            if not isinstance(one, Callback):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise PoolsearchError(
                    f"{one!r} is no callback: each must be an object of a class derived from poolsearch.Callback "
                    "(the object, such as MyCallback(), not the class)."
                )
        self._all = tuple(callbacks)
        self._of_steps = tuple(one for one in callbacks if _overrides(one, "on_step"))

    def stage(self, event: StageEvent) -> None:
        """Tell each of a stage.

        Args:
            event: that it began or ended.
        """
        _tell(self._all, "on_stage", event)

    def epoch(self, event: EpochEvent) -> None:
        """Tell each of an epoch.

        Args:
            event: that it ended.
        """
        _tell(self._all, "on_epoch", event)

    def trial(self, event: TrialEvent) -> None:
        """Tell each of a stand-alone training.

        Args:
            event: that it ended.
        """
        _tell(self._all, "on_trial", event)

    def watch(self, name: TrainingName, epoch: Callable[[EpochEvent], None] | None = None) -> Watch:
        """Who is told how a training goes.

        Args:
            name: of the training.
            epoch: is given its epochs, and hands them on; None: the callbacks themselves are.

        Returns:
            What the training loop takes.
        """
        return Watch(name, epoch or self.epoch, self._step if self._of_steps else None)

    def _step(self, event: StepEvent) -> None:
        _tell(self._of_steps, "on_step", event)


def _overrides(callback: Callback, method: str) -> bool:
    return getattr(getattr(callback, method), "__func__", None) is not getattr(Callback, method)


def _tell(callbacks: Sequence[Callback], method: str, event: object) -> None:
    """All are told, also when one raises: what has happened is not told again. The first error is raised."""
    failed: Exception | None = None
    for one in callbacks:
        try:
            getattr(one, method)(event)
        except Exception as error:  # of the user's own code: whatever it is
            if sys.version_info >= (3, 11):
                error.add_note(f"raised by the callback {type(one).__name__}.{method}")
            failed = failed or error
    if failed is not None:
        raise failed
