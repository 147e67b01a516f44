"""Which targets the tasks have that have a name. No torch."""

from __future__ import annotations

from poolsearch.settings import Settings
from poolsearch.settings.tasks import metric_of
from poolsearch.tasks.task import TargetKind

_KINDS: dict[str, TargetKind] = {
    "classification": "classes", "multi-label": "labels", "regression": "values", "dense": "masks",
}  # fmt: skip


def target_kind(settings: Settings) -> TargetKind:
    """What there is to learn of each image.

    Args:
        settings: with a task that has a name.

    Returns:
        The kind of its targets.

    Raises:
        PoolsearchError: there is no such task.
    """
    metric_of(settings.data.task, None)
    return _KINDS[settings.data.task]
