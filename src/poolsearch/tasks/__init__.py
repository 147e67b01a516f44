"""What a network is trained for: its loss, and what is measured of its outputs."""

from __future__ import annotations

from poolsearch.tasks.task import TargetKind, Task

__all__ = ["TargetKind", "Task"]
