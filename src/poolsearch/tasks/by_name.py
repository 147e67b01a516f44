"""From the settings to a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from poolsearch.errors import PoolsearchError
from poolsearch.settings.groups import Metric
from poolsearch.tasks.classification import classification
from poolsearch.tasks.dense import dense
from poolsearch.tasks.multi_label import multi_label
from poolsearch.tasks.regression import regression
from poolsearch.tasks.task import Task
from poolsearch.user_code import factory_of, file_of


def task_by_name(name: str, metric: Metric | None, training_targets: Callable[[], Tensor]) -> Task:
    """A task that has a name.

    Args:
        name: as in the settings.
        metric: one of the task's, see :func:`poolsearch.settings.tasks.metric_of`.
        training_targets: gives those of the training images, (N, ...), which regression takes its scale from.

    Returns:
        The task.
    """
    if name == "regression":
        return regression(training_targets())
    assert metric is not None
    return {"classification": classification, "multi-label": multi_label, "dense": dense}[name](metric)


def task_of_file(name: str, digest: str | None) -> Task:
    """A task of the user's, from their file.

    Args:
        name: ``FILE.py:FACTORY``.
        digest: SHA-256 that the file must have; None: whatever is in it may run.

    Returns:
        What the function gives.

    Raises:
        PoolsearchError: there is no such function, it cannot be called without arguments, or gives no task.
    """
    file = file_of(name)
    assert file is not None
    factory = factory_of(Path(file).expanduser(), name.removeprefix(f"{file}:"), "task", digest)
    try:
        task: Any = factory()
    except Exception as error:  # of the user's own code
        raise PoolsearchError(f"{name} cannot be called without arguments: {type(error).__name__}: {error}.") from error
    return check_task(task, name)


def check_task(task: Any, name: str) -> Task:
    """See that something is a task.

    Args:
        task: what a user gives for one.
        name: of it, for the error.

    Returns:
        The same.

    Raises:
        PoolsearchError: it is none.
    """
    if not isinstance(task, Task):
        raise PoolsearchError(
            f"{name} is a {type(task).__name__} and no task. Give poolsearch.Task(loss=..., metric=...), or the name "
            "of one: classification, multi-label, regression or dense."
        )
    for part in ("loss", "metric"):
        if not callable(getattr(task, part)):
            raise PoolsearchError(f"{part} of the task {name} is a {type(getattr(task, part)).__name__}, no function.")
    return task
