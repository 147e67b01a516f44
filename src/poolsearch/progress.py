"""Progress bars with an ETA on a terminal, a line now and then elsewhere, nothing when asked to be silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress

Update = Callable[[float, str], None]
"""``update(done, note)``: how many units are done, and a short text to show beside the bar."""


class Progress(Protocol):
    """How long work shows itself. Stages take one as an argument; they never print by themselves."""

    def say(self, text: str) -> None:
        """Tell the user one thing."""
        ...

    def bar(self, label: str, total: int) -> AbstractContextManager[Update]:
        """Open a bar of ``total`` units, as a context manager that gives its :data:`Update`.

        A bar opened while another is open shows a part of it.
        """
        ...


class Silent:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        yield _ignore


def _ignore(done: float, note: str) -> None:
    pass


class Shown:
    """Rich bars on a terminal, parts below their whole; elsewhere (a log file, CI) a line of the whole now and then.

    Args:
        every_seconds: between two such lines.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        # soft_wrap keeps long paths copyable; stderr keeps stdout for results
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._every = every_seconds
        self._rows: RichProgress | None = None
        self._open = 0

    def say(self, text: str) -> None:
        self._console.print(text, markup=False)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        self._open += 1
        try:
            if self._console.is_terminal:
                with self._row(label, total) as update:
                    yield update
            else:
                yield self._lines(label, total) if self._open == 1 else _ignore
        finally:
            self._open -= 1
            if not self._open:
                self._rows = None

    @contextmanager
    def _row(self, label: str, total: int) -> Generator[Update]:
        rows = self._rows
        if rows is None:
            with self._display() as self._rows, self._row(label, total) as update:
                yield update
            return
        row = rows.add_task(label, total=total, note="")
        yield lambda done, note: rows.update(row, completed=done, note=note)
        if self._open > 1:  # the whole stays to be read
            rows.remove_task(row)

    def _display(self) -> RichProgress:
        columns = (
            TextColumn("{task.description:<22}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        return RichProgress(*columns, console=self._console)

    def _lines(self, label: str, total: int) -> Update:
        started = printed = time.monotonic()
        first: float | None = None

        def update(done: float, note: str) -> None:
            nonlocal printed, first
            now = time.monotonic()
            if first is None:
                first = done  # a resumed bar must not count what an earlier process did as its own speed
            if now - printed < self._every:
                return
            printed = now
            speed = (done - first) / (now - started)
            eta = f"ETA {(total - done) / speed:.0f} s" if speed > 0 else "ETA unknown"
            print(f"{label}: {done:.0f}/{total}, {now - started:.0f} s, {eta}  {note}", file=sys.stderr, flush=True)

        return update


class Whole:
    """How far all parts of something are together, in percent, by their costs (positive, in any unit).

    Args:
        costs: of each part.
        update: of a bar of 100.
        progress: where the parts show themselves.
    """

    def __init__(self, costs: Sequence[float], update: Update, progress: Progress) -> None:
        self.progress = progress
        self._costs, self._update = costs, update
        self._share, self._finished = [0.0] * len(costs), 0

    def part(self, number: int) -> Part:
        """The progress of one part."""
        return Part(self, number)

    def finished(self, number: int) -> None:
        """A part is done."""
        self._finished += 1
        self.reached(number, 1.0)

    def reached(self, number: int, share: float) -> None:
        """A part is done by this fraction."""
        self._share[number] = share
        done = sum(c * s for c, s in zip(self._costs, self._share, strict=True)) / sum(self._costs)
        self._update(100 * done, f"{self._finished} of {len(self._costs)} finished")


class Part:
    """A progress that also moves the bar of the whole."""

    def __init__(self, whole: Whole, number: int) -> None:
        self._whole, self._number = whole, number

    def say(self, text: str) -> None:
        self._whole.progress.say(text)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        with self._whole.progress.bar(label, total) as inner:

            def update(done: float, note: str) -> None:
                inner(done, note)
                self._whole.reached(self._number, done / total)

            yield update
