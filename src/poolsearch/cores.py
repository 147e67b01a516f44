"""How many cores there are to use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP_LIMIT = Path("/sys/fs/cgroup/cpu.max")


def available_cores() -> int:
    """Cores that this process may use: those it is bound to, or fewer where a container's share is less."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share = cores_of_limit(_CGROUP_LIMIT.read_text(encoding="ascii"))
    except OSError:
        return bound
    return bound if share is None else min(bound, share)


def cores_of_limit(text: str) -> int | None:
    """Whole cores of a cgroup's ``cpu.max``, "QUOTA PERIOD" in microseconds, rounded up; None for "max"."""
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" or not period else max(1, math.ceil(int(quota) / int(period)))
