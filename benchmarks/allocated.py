"""What torch's allocator gives out while some work is done."""

from __future__ import annotations

from collections.abc import Callable

import torch


def most_allocated(work: Callable[[], object]) -> int:
    """The most bytes that are given out at a time, beside those that were before."""
    with torch.profiler.profile(profile_memory=True) as found:
        work()
    now = most = 0
    events = [e for e in found.profiler.kineto_results.events() if e.name() == "[memory]"]
    for event in sorted(events, key=lambda e: e.start_ns()):
        now += event.nbytes()
        most = max(most, now)
    return most
