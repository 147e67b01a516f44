"""What is still to be begun, where others may be doing it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

_BUSY_SECONDS = 1.0


@dataclass(frozen=True)
class Busy:
    """What a work gives for a trial that a process which is not ours does at the moment."""


class TrialQueue:
    """Trials that are still to be begun, by their number: in this order, then those that others were seen to do."""

    def __init__(self, order: Iterable[int]) -> None:
        self._free = deque(order)
        self._busy: deque[tuple[float, int]] = deque()

    def __bool__(self) -> bool:
        return bool(self._free or self._busy)

    def next(self) -> int | None:
        """The one to begin now; None as long as others do all that are left."""
        if self._free:
            return self._free.popleft()
        if self._busy and self._busy[0][0] <= time.monotonic():
            return self._busy.popleft()[1]
        return None

    def busy(self, trial: int) -> None:
        """Others do it: it is to be looked at again."""
        self._busy.append((time.monotonic() + _BUSY_SECONDS, trial))

    def clear(self) -> None:
        """Begin no more."""
        self._free.clear()
        self._busy.clear()
