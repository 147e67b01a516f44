"""Progress bars with an ETA on a terminal, a line now and then elsewhere, nothing when asked to be silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Update = Callable[[int, str], None]
"""``update(done, note)``: how many units are done, and a short text to show beside the bar."""


class Progress(Protocol):
    """How long work shows itself. Stages take one as an argument; they never print by themselves."""

    def say(self, text: str) -> None:
        """Tell the user one thing."""
        ...

    def bar(self, label: str, total: int) -> AbstractContextManager[Update]:
        """Open a bar of ``total`` units, as a context manager that gives its :data:`Update`."""
        ...


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        yield _ignore


def _ignore(done: int, note: str) -> None:
    pass


class Shown:
    """Rich bars on a terminal; elsewhere (a log file, CI) one line every ``every_seconds``."""

    def __init__(self, every_seconds: float = 30.0) -> None:
        # soft_wrap keeps long paths copyable; stderr keeps stdout for results
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._every = every_seconds

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        if self._console.is_terminal:
            with self._rich(label, total) as update:
                yield update
        else:
            yield self._lines(label, total)

    @contextmanager
    def _rich(self, label: str, total: int) -> Generator[Update]:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        with RichProgress(*columns, console=self._console) as bars:
            task = bars.add_task(label, total=total, note="")
            yield lambda done, note: bars.update(task, completed=done, note=note)

    def _lines(self, label: str, total: int) -> Update:
        started = printed = time.monotonic()
        first: int | None = None

        def update(done: int, note: str) -> None:
            nonlocal printed, first
            now = time.monotonic()
            if first is None:
                first = done  # a resumed bar must not count what an earlier process did as its own speed
            if now - printed < self._every:
                return
            printed = now
            speed = (done - first) / (now - started)
            eta = f"ETA {(total - done) / speed:.0f} s" if speed > 0 else "ETA unknown"
            print(f"{label}: {done}/{total}, {now - started:.0f} s, {eta}  {note}", file=sys.stderr, flush=True)

        return update
