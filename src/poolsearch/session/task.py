"""The task of a run: by its name, from a file of the user's, or given as a Python object."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from poolsearch.data import Images
from poolsearch.errors import PoolsearchError
from poolsearch.session.trusted import digest_of
from poolsearch.settings import Settings
from poolsearch.settings.tasks import OBJECT, is_own_task
from poolsearch.tasks.by_name import task_by_name, task_of_file
from poolsearch.tasks.names import target_kind
from poolsearch.tasks.task import NamedTask, TargetKind, Task, responses
from poolsearch.user_code import file_of

_CHUNK = 256


def own_task(settings: Settings, code: Mapping[str, str], given: Task | None) -> Task | None:
    """The task where it is the user's.

    Args:
        settings: with its name.
        code: SHA-256 of the files that may run, by their paths.
        given: where it was given as an object.

    Returns:
        None of one that has a name, and of an object that is not given now.

    Raises:
        PoolsearchError: its file may not run, or has no task.
    """
    name = settings.data.task
    if file_of(name) is not None:
        return task_of_file(name, digest_of(name, code))
    return given if is_own_task(name) else None


def kind_of_targets(settings: Settings, own: Task | None, record: Mapping[str, Any]) -> TargetKind:
    """What there is to learn of each image.

    Args:
        settings: with the name of the task.
        own: where it is the user's, see :func:`own_task`.
        record: run.json, which knows it of a run that is gone on with.

    Returns:
        The kind of its targets.
    """
    if own is not None:
        return own.targets
    if is_own_task(settings.data.task):
        return record.get("data", {}).get("targets", "values")
    return target_kind(settings)


def targets_of(images: Images, indices: NDArray[np.int64]) -> Tensor:
    """What there is to learn of some images.

    Args:
        images: of the data set.
        indices: which, shape (N,).

    Returns:
        Classes (N,), or targets (N, ...), on the CPU.
    """
    known = images.label_N if images.target_N is None else images.target_N
    return torch.from_numpy(np.ascontiguousarray(known[indices]))


def task_of(settings: Settings, own: Task | None, training_targets: Callable[[], Tensor]) -> Task:
    """The task of a run.

    Args:
        settings: resolved.
        own: where it is the user's, see :func:`own_task`.
        training_targets: gives those of the training images, (N, ...).

    Returns:
        The task.

    Raises:
        PoolsearchError: it was given as an object, and is not given now.
    """
    if own is not None:
        return own
    name = settings.data.task
    if is_own_task(name):
        raise PoolsearchError(
            f"the run was begun with a task that is a Python object, {name.removeprefix(f'{OBJECT}:')}. Give it again: "
            "poolsearch.run(FOLDER, resume=True, task=...)."
        )
    return task_by_name(name, settings.data.metric, training_targets)


@torch.inference_mode()
def values_of_guesses(task: Task, training_targets: Tensor, targets: Tensor) -> Tensor:
    """The metric of each image where a network always said the same, for several sayings.

    Args:
        task: whose guesses are taken; one of the user's has none.
        training_targets: from which the guesses follow.
        targets: of N images, (N, ...).

    Returns:
        Shape (guesses, N), on the CPU.
    """
    if not isinstance(task, NamedTask):
        return torch.zeros(0, len(targets))
    rows = [
        torch.cat([
            responses(task, guess.expand(len(chunk), *guess.shape), chunk)
            for chunk in targets.split(_CHUNK)
        ])
        for guess in task.guesses(training_targets)
    ]  # fmt: skip
    return torch.stack(rows) if rows else torch.zeros(0, len(targets))
