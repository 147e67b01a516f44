"""How many cores and how much memory there are to use."""

from __future__ import annotations

import math
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")
_CGROUP_LIMIT = _CGROUP / "cpu.max"
_MEMORY = Path("/proc/meminfo")


def available_cores() -> int:
    """Cores that this process may use.

    Returns:
        Those it is bound to, or fewer where a container's share is less.
    """
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share = cores_of_limit(_CGROUP_LIMIT.read_text(encoding="ascii"))
    except OSError:
        return bound
    return bound if share is None else min(bound, share)


def cores_of_limit(text: str) -> int | None:
    """Whole cores that a cgroup may use.

    Args:
        text: of its ``cpu.max``: "QUOTA PERIOD" in microseconds.

    Returns:
        Rounded up, at least 1; None for "max", which is no limit.
    """
    quota, _, period = text.strip().partition(" ")
    return None if quota == "max" or not period else max(1, math.ceil(int(quota) / int(period)))


def available_memory() -> int | None:
    """Memory that can still be taken without swapping.

    Returns:
        Bytes: the system's, or a container's where that is less. None where the system does not say, as on others than
        Linux.
    """
    try:
        free = memory_of_system(_MEMORY.read_text(encoding="ascii"))
    except OSError:
        return None
    try:
        names = ("memory.max", "memory.current", "memory.stat")
        share = memory_of_limit(*((_CGROUP / name).read_text(encoding="ascii") for name in names))
    except OSError:
        return free
    return share if free is None else free if share is None else min(free, share)


def memory_of_system(text: str) -> int | None:
    """Memory that is available to the system, with caches that can be dropped.

    Args:
        text: of ``/proc/meminfo``.

    Returns:
        Bytes of its line MemAvailable; None where there is none.
    """
    return next((1024 * int(line.split()[1]) for line in text.splitlines() if line.startswith("MemAvailable:")), None)


def memory_of_limit(most: str, current: str, stat: str) -> int | None:
    """Memory that is left to a cgroup; pages of files not in use can be dropped, and are counted.

    Args:
        most, current, stat: texts of its ``memory.max``, ``memory.current`` and ``memory.stat``.

    Returns:
        Bytes; None for "max", which is no limit.
    """
    if most.strip() == "max":
        return None
    droppable = next((int(line.split()[1]) for line in stat.splitlines() if line.startswith("inactive_file ")), 0)
    return max(0, int(most) - int(current) + droppable)
