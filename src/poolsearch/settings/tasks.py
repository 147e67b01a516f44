"""The tasks that have a name, and by which metrics each may be judged. No torch."""

from __future__ import annotations

from poolsearch.errors import PoolsearchError, unknown
from poolsearch.settings.groups import Metric

OBJECT = "object"
"""What stands before the colon in the name of a task that was given as a Python object."""

METRICS: dict[str, tuple[Metric, ...]] = {
    "classification": ("accuracy", "balanced-accuracy", "macro-f1"),
    "multi-label": ("sample-f1", "label-accuracy", "exact-match"),
    "regression": ("closeness",),
    "dense": ("iou", "pixel-accuracy"),
}
"""By task, the default first."""


def is_own_task(task: str) -> bool:
    """Whether a task is the user's: ``FILE.py:FACTORY``, or a Python object.

    Args:
        task: as in the settings.

    Returns:
        False of those that have a name.
    """
    return ":" in task


def metric_of(task: str, metric: Metric | None) -> Metric | None:
    """The metric of a task.

    Args:
        task: as in the settings.
        metric: as asked for; None: the default.

    Returns:
        One of the task's; None of a task of the user's, which has its own.

    Raises:
        PoolsearchError: there is no such task, or the metric is not one of its.
    """
    if is_own_task(task):
        if metric is not None:
            raise PoolsearchError(f"--metric {metric}: the task {task} has a metric of its own. Leave --metric out.")
        return None
    if task not in METRICS:
        raise unknown("task", task, METRICS)
    if metric is None:
        return METRICS[task][0]
    if metric not in METRICS[task]:
        allowed = ", ".join(METRICS[task])
        raise PoolsearchError(f"--metric {metric} is not one of --task {task}. Allowed: {allowed}.")
    return metric


def metric_name(metric: str) -> str:
    """The metric as people say it.

    Args:
        metric: as the settings name it, or any other text.

    Returns:
        Such as ``balanced accuracy`` or ``macro F1``; any other text as it is.
    """
    return _NAMES.get(metric, metric)


_NAMES = {
    "balanced-accuracy": "balanced accuracy", "macro-f1": "macro F1", "sample-f1": "F1 of labels",
    "label-accuracy": "accuracy of labels", "exact-match": "exact match", "iou": "IoU",
    "pixel-accuracy": "pixel accuracy",
}  # fmt: skip

CLASSES_ALIKE = frozenset(metric_name(metric) for metric in ("balanced-accuracy", "macro-f1"))
"""Metrics that count every class alike, whatever its number of images, as people say them."""
