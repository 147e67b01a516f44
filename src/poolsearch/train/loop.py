"""The loop around training steps: events, checkpoints, resuming, stopping on request. It knows no method."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor

from poolsearch.callbacks import StepEvent, Watch
from poolsearch.errors import Interrupted
from poolsearch.progress import Progress
from poolsearch.storage import digests
from poolsearch.storage.disk import append, check_place, cut
from poolsearch.storage.files import damaged, finite
from poolsearch.train import checkpoint
from poolsearch.workers.signals import stop_requests


class Training(Protocol):
    """Something that is trained step by step.

    Attributes:
        epochs, steps_per_epoch: its length.
        device: where its random layers draw.
    """

    epochs: int
    steps_per_epoch: int
    device: torch.device

    def step(self, step: int) -> Tensor:
        """Do one training step.

        Args:
            step: of all epochs together (0-based); it keys all random draws.

        Returns:
            The loss, shape (), detached and still on the device.
        """
        ...

    def epoch_ends(self, epoch: int, step: int) -> dict[str, Any]:
        """Say what is to be logged of an epoch that has ended.

        Args:
            epoch: 0-based.
            step: steps done since the start.

        Returns:
            Entries of its event, as JSON values; numbers may be NaN.
        """
        ...

    def note(self) -> str:
        """A few words on how it goes.

        Returns:
            Text to show beside the progress bar.
        """
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Everything the next step depends on, besides :meth:`meta`.

        Returns:
            By name; no name begins with ``random/``, which the loop uses.
        """
        ...

    def meta(self) -> Any:
        """Everything the next step depends on, besides :meth:`tensors`.

        Returns:
            A JSON value.
        """
        ...

    def load(self, tensors: dict[str, Tensor], meta: Any) -> None:
        """Undo of :meth:`tensors` and :meth:`meta`.

        Args:
            tensors: with the loop's own among them, on the CPU.
            meta: what :meth:`meta` gave.

        Raises:
            KeyError, IndexError, TypeError, ValueError, RuntimeError: they are of another training; the loop reports a
                damaged checkpoint.
        """
        ...


@dataclass(frozen=True)
class LoopFiles:
    """Where a loop keeps its state and its log, how often, and what they are of: for the header of the checkpoint."""

    checkpoint: Path
    events: Path
    every_seconds: float
    of: Mapping[str, Any]


def run_loop(
    training: Training,
    files: LoopFiles,
    label: str,
    progress: Progress,
    identity: dict[str, Any],
    seed: int,
    watch: Watch | None = None,
) -> float:
    """Train ``training`` from its checkpoint, if there is one, to its end, and leave a checkpoint of the end.

    Killed at any moment it goes on from the last checkpoint, and ends as if it had never stopped: events after the
    checkpoint are cut off, and all randomness is keyed by the step, or torch's own, which the checkpoint holds.

    Args:
        training: what to train.
        files: the checkpoint is read when it exists.
        label: for the progress bar.
        progress: where to show it.
        identity: put in front of every event.
        seed: for torch's own generators, which layers such as dropout draw from; the caller's are left as they were.
        watch: who is told of epochs and steps; None: nobody.

    Returns:
        Seconds, over all processes that worked on it.

    Raises:
        Interrupted: Ctrl-C or SIGTERM; the state is saved.
        PoolsearchError: the checkpoint is damaged, or no space is left.
        Exception: whatever is raised by who is told; the state is saved.
    """
    with torch.random.fork_rng(devices=[training.device] if training.device.type == "cuda" else []):
        torch.manual_seed(seed)
        start, earlier = _resume(training, files)
        began = time.monotonic() - earlier
        with stop_requests() as stopped, progress.bar(label, training.epochs * training.steps_per_epoch) as update:
            for done in _steps(training, files, start, began, identity, stopped, progress.say, watch):
                update(done, training.note())
            if files.events.exists():
                digests.seal(files.events)
            if stopped():  # during the last step: all is saved, and nothing more is to be begun
                raise Interrupted
    return time.monotonic() - began


def _steps(
    training: Training,
    files: LoopFiles,
    start: int,
    began: float,
    identity: dict[str, Any],
    stopped: Callable[[], bool],
    say: Callable[[str], None],
    watch: Watch | None,
) -> Iterator[int]:
    """Do the steps from ``start`` on, log epochs, save; give the number of steps done after each."""
    total = training.epochs * training.steps_per_epoch
    saved, first = time.monotonic(), True
    on_step = None if watch is None else watch.step
    for step in range(start, total):
        epoch, done, failed = step // training.steps_per_epoch, step + 1, None
        loss = training.step(step)
        if watch and on_step:
            failed = _error_of(on_step, StepEvent(**vars(watch.name), step=done, loss=loss))
        if done % training.steps_per_epoch == 0:
            seconds = round(time.monotonic() - began, 3)
            event = {**identity, "epoch": epoch, "step": done, "seconds": seconds}
            logged = training.epoch_ends(epoch, done)
            # durably: a checkpoint must not outlive the events it counts
            append(files.events, json.dumps(finite(event | logged)) + "\n")
            if watch:
                error = _error_of(watch.epoch_ended, epoch, done, seconds, logged)
                failed = failed or error
        yield done
        stop = stopped() or failed is not None
        if done == total or stop or time.monotonic() - saved >= files.every_seconds:
            _save(training, files, done, time.monotonic() - began)
            saved = time.monotonic()
            if first and done < total:
                megabytes, first = _size(files.checkpoint) / 1e6, False
                say(f"checkpoint: {megabytes:.1f} MB, every {files.every_seconds:g} s, in {files.checkpoint}")
        if failed is not None:
            raise failed
        if stop and done < total:
            raise Interrupted


def _error_of(tell: Callable[..., None], *told: Any) -> Exception | None:
    """What is raised by who is told: it is kept until the state is saved."""
    try:
        tell(*told)
    except Exception as error:  # of the user's own code: whatever it is
        return error
    return None


def _save(training: Training, files: LoopFiles, done: int, seconds: float) -> None:
    total = training.epochs * training.steps_per_epoch
    meta = {
        "of": dict(files.of), "step": done, "total": total, "seconds": seconds, "events_bytes": _size(files.events),
        "task": training.meta(),
    }  # fmt: skip
    checkpoint.save(files.checkpoint, training.tensors() | checkpoint.random_state(training.device), meta)


def _resume(training: Training, files: LoopFiles) -> tuple[int, float]:
    """(first step to do, seconds spent so far)."""
    digests.drop(files.events)
    if not files.checkpoint.exists():
        check_place(files.events.parent)
        files.events.parent.mkdir(parents=True, exist_ok=True)
        files.events.unlink(missing_ok=True)
        return 0, 0.0
    tensors, meta = checkpoint.load(files.checkpoint, of=files.of)
    try:
        training.load(tensors, meta["task"])
        checkpoint.load_random_state(tensors, training.device)
    except (KeyError, IndexError, TypeError, ValueError, RuntimeError) as error:
        raise damaged(files.checkpoint, f"it does not fit this training: {error!r}") from None
    if _size(files.events) > meta["events_bytes"]:
        cut(files.events, meta["events_bytes"])
    return meta["step"], meta["seconds"]


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
