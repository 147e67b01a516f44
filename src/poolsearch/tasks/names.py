"""Which targets the tasks have that have a name. No torch."""

from __future__ import annotations

from poolsearch.settings import Settings
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
    """
    return _KINDS[settings.data.task]
