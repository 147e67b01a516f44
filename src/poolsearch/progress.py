"""Progress bars with an ETA on a terminal, and a table; a line now and then elsewhere; nothing when to be silent."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from rich import box
from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.table import Table as RichTable
from rich.text import Text

from poolsearch.texts import printable

Update = Callable[[float, str], None]
"""``update(done, note)``: how many units are done, and a short text to show beside the bar."""


@dataclass(frozen=True)
class ProgressTable:
    """How things stand: a title, and rows with a text for each column."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Progress(Protocol):
    """How long work shows itself. Stages take one as an argument; they never print by themselves."""

    def say(self, text: str) -> None:
        """Tell the user one thing.

        Args:
            text: a line, shown as it is.
        """
        ...

    def bar(self, label: str, total: int) -> AbstractContextManager[Update]:
        """Open a bar.

        A bar opened while another is open shows a part of it.

        Args:
            label: what the work is, in a word or two.
            total: units of work, such as steps, that make the whole bar.

        Returns:
            A context manager that gives the bar's :data:`Update`; the bar is closed at its end.
        """
        ...

    def table(self, table: ProgressTable, line: str = "") -> None:
        """Show a table above the open bars, in place of the one before.

        Args:
            table: all of it, as it stands now.
            line: what is new in it, for where nothing that was shown can be replaced, as in a log; empty when nothing
                is.
        """
        ...


class TrialProgress(Progress, Protocol):
    """The progress of one of several trials, which also takes what the trial tells to the process that asked for it."""

    def tell(self, told: Any) -> None:
        """Hand on what the trial tells.

        Args:
            told: anything that can be pickled, as the trial may be done by a worker process.
        """
        ...


class SilentProgress:
    """Shows nothing."""

    def say(self, text: str) -> None:
        pass

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        yield _ignore

    def table(self, table: ProgressTable, line: str = "") -> None:
        pass


def default_progress() -> Progress:
    """The progress of a function that was told nothing.

    Returns:
        One that shows itself in a terminal or a notebook; elsewhere, as in a script whose output goes to a file, a
        silent one.
    """
    seen = sys.stderr.isatty() or "ipykernel" in sys.modules
    return ConsoleProgress() if seen else SilentProgress()


def _ignore(done: float, note: str) -> None:
    pass


class PlainConsole(Console):
    """Where texts are printed as they are, styled by us alone: in names ``[bold]`` and ``:smile:`` mean themselves, and
    what a terminal would obey is escaped.

    Args:
        stderr: for all that is no result.
        soft_wrap: leave long lines whole, so that paths can be copied.
    """

    def __init__(self, stderr: bool = False, soft_wrap: bool = False, **options: Any) -> None:
        super().__init__(
            stderr=stderr, soft_wrap=soft_wrap, highlight=False, markup=False, emoji=False, **options
        )  # fmt: skip

    def render_str(self, text: str, **options: Any) -> Text:
        """Make a text printable; every text goes through this, those of cells and titles of tables, too.

        Args:
            text: as others may have written it.
            **options: as of rich's console.

        Returns:
            The text with what a terminal would obey escaped.
        """
        return super().render_str(printable(text), **options)


class ConsoleProgress:
    """Rich bars on a terminal, parts below their whole; elsewhere (a log file, CI) a line of the whole now and then.

    Args:
        every_seconds: between two such lines.
    """

    def __init__(self, every_seconds: float = 30.0) -> None:
        # soft_wrap keeps long paths copyable; stderr keeps stdout for results
        self._console = PlainConsole(stderr=True, soft_wrap=True)
        self._every = every_seconds
        self._rows: _Display | None = None
        self._open = 0

    def say(self, text: str) -> None:
        self._console.print(text)

    def table(self, table: ProgressTable, line: str = "") -> None:
        if self._rows is not None:
            self._rows.above = table
        elif line:
            self.say(line)

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
        row = rows.add_task(printable(label), total=total, note="")
        yield lambda done, note: rows.update(row, completed=done, note=printable(note))
        if self._open > 1:  # the whole stays to be read
            rows.remove_task(row)

    def _display(self) -> _Display:
        columns = (
            TextColumn("{task.description:<22}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        return _Display(*columns, console=self._console)

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
            line = printable(f"{label}: {done:.0f}/{total}, {now - started:.0f} s, {eta}  {note}")
            print(line, file=sys.stderr, flush=True)

        return update


class _Display(RichProgress):
    """Rows of bars, and what stands above them."""

    above: ProgressTable | None = None

    def get_renderables(self) -> Iterable[RenderableType]:
        if self.above is not None:
            yield _rich(self.above)
        yield from super().get_renderables()


def _rich(table: ProgressTable) -> RichTable:
    found = RichTable(title=table.title, title_justify="left", box=box.SIMPLE_HEAD)
    for place, column in enumerate(table.columns):
        found.add_column(column, justify="right" if place else "left")
    for row in table.rows:
        found.add_row(*row)
    return found


class OnceProgress:
    """A progress that says everything only once: for many runs that all have the same to say."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._said: set[str] = set()

    def say(self, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            self._progress.say(text)

    def bar(self, label: str, total: int) -> AbstractContextManager[Update]:
        return self._progress.bar(label, total)

    def table(self, table: ProgressTable, line: str = "") -> None:
        self._progress.table(table, line)


class OverallProgress:
    """How far all parts of something are together, in percent, by their costs (positive, in any unit).

    Args:
        costs: of each part.
        update: of a bar of 100.
        progress: where the parts show themselves.
        told: is given what the parts tell; None: nobody is.
    """

    def __init__(
        self, costs: Sequence[float], update: Update, progress: Progress, told: Callable[[Any], None] | None = None
    ) -> None:
        self.progress, self.told = progress, told
        self._costs, self._update = costs, update
        self._share, self._finished = [0.0] * len(costs), 0

    def part(self, number: int) -> PartialProgress:
        """The progress of one part.

        Args:
            number: of the part, in the order of the costs, from 0.

        Returns:
            A progress whose bars also move the bar of the whole.
        """
        return PartialProgress(self, number)

    def finished(self, number: int) -> None:
        """Count a part as done.

        Args:
            number: of the part, from 0.
        """
        self._finished += 1
        self.reached(number, 1.0)

    def reached(self, number: int, share: float) -> None:
        """Take in how far a part is.

        Args:
            number: of the part, from 0.
            share: that is done, a fraction.
        """
        self._share[number] = share
        self.again()

    def again(self) -> None:
        """Nothing is new, but time went on."""
        done = sum(c * s for c, s in zip(self._costs, self._share, strict=True)) / sum(self._costs)
        self._update(100 * done, f"{self._finished} of {len(self._costs)} finished")


class PartialProgress:
    """A :class:`TrialProgress` that also moves the bar of the whole."""

    def __init__(self, whole: OverallProgress, number: int) -> None:
        self._whole, self._number = whole, number

    def say(self, text: str) -> None:
        self._whole.progress.say(text)

    def tell(self, told: Any) -> None:
        if self._whole.told:
            self._whole.told(told)

    def table(self, table: ProgressTable, line: str = "") -> None:
        self._whole.progress.table(table, line)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        with self._whole.progress.bar(label, total) as inner:

            def update(done: float, note: str) -> None:
                inner(done, note)
                self._whole.reached(self._number, done / total)

            yield update
