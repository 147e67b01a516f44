"""What the user sees: one line of the whole in a log, rows on a terminal; and how parts make a whole."""

from __future__ import annotations

import pytest
from rich.console import Console

from poolsearch.progress import ConsoleProgress, OnceProgress, OverallProgress, ProgressTable, SilentProgress


def test_in_a_log_only_the_whole_has_lines(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ConsoleProgress(every_seconds=0)
    with shown.bar("whole", 100) as whole, shown.bar("part", 10) as part:
        part(5, "note")
        whole(49.6, "1 of 2 finished")
    with shown.bar("next", 10) as update:
        update(1, "")
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == ["whole: 50/100", "next: 1/10"]


def test_on_a_terminal_parts_are_rows_that_go_when_they_are_done(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ConsoleProgress()
    shown._console = Console(stderr=True, force_terminal=True, width=120)
    for _ in range(2):  # the display can be opened again, also after an error
        with pytest.raises(ZeroDivisionError), shown.bar("whole", 100) as whole:
            rows = shown._rows
            assert rows is not None
            with shown.bar("part", 10) as part:
                part(5, "half")
                assert [(task.description, task.completed) for task in rows.tasks] == [("whole", 0), ("part", 5)]
                shown.say("said meanwhile")
            whole(50, "")
            assert [(task.description, task.completed) for task in rows.tasks] == [("whole", 50)]
            raise ZeroDivisionError
        assert shown._rows is None
    assert capsys.readouterr().err.count("said meanwhile") == 2


def test_a_whole_is_as_far_as_its_parts_by_their_costs() -> None:
    told: list[tuple[float, str]] = []
    whole = OverallProgress([1.0, 3.0], lambda done, note: told.append((done, note)), SilentProgress())
    with whole.part(1).bar("second", 6) as update:
        update(2, "")  # a third of three quarters
    whole.finished(0)
    whole.finished(1)
    assert told == [
        (pytest.approx(25), "0 of 2 finished"),
        (pytest.approx(50), "1 of 2 finished"),
        (pytest.approx(100), "2 of 2 finished"),
    ]


TABLE = ProgressTable("sweep: 1 of 2", ("best so far", "MACs"), [("4,3,3", "1,234"), ("[8]", "5")])


def test_a_table_in_a_log_is_the_line_of_what_is_new(capsys: pytest.CaptureFixture[str]) -> None:
    shown = ConsoleProgress()
    with shown.bar("whole", 100):
        shown.table(TABLE, "4,3,3 has ended")
        shown.table(TABLE)
    assert capsys.readouterr().err == "4,3,3 has ended\n"


def test_a_table_on_a_terminal_stands_above_the_bars_and_takes_the_place_of_the_last(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = ConsoleProgress()
    shown._console = Console(stderr=True, force_terminal=True, width=120)
    with shown.bar("whole", 100) as whole:
        shown.table(ProgressTable("an old one", ("x",), []))
        shown.table(TABLE, "a line for logs")
        whole(100, "")
    text = capsys.readouterr().err
    last = text[text.rindex("sweep: 1 of 2") :]
    assert last.index("4,3,3") < last.index("1,234") < last.index("[8]") < last.index("whole")
    assert "an old one" not in text and "a line for logs" not in text
    with shown.bar("next", 100):
        assert shown._rows is not None and shown._rows.above is None


def test_what_many_runs_say_is_said_once():
    class Heard(SilentProgress):
        def __init__(self):
            self.texts = []

        def say(self, text):
            self.texts.append(text)

    heard = Heard()
    once = OnceProgress(heard)
    for text in ("a", "b", "a"):
        once.say(text)
    with once.bar("x", 1) as update:
        update(1, "")
    assert heard.texts == ["a", "b"]
