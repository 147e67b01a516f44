"""Names that others chose, on their way to a terminal and a shell: seen, never obeyed."""

import os
import re
import shlex
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from poolsearch import texts
from poolsearch.cli.main import main
from poolsearch.progress import ConsoleProgress, PlainConsole, ProgressTable

SOURCE = Path(texts.__file__).parent
NASTY = "\x1b[2J\x1b]0;title\x07\r\x08\u202eabc\u2066\x9b31m\udcff [bold]b[/bold] [/x] :smile:"
OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
SEEN = r"\x1b[2J\x1b]0;title\x07\r\x08\u202eabc\u2066\x9b31m\udcff [bold]b[/bold] [/x] :smile:"


def test_what_is_obeyed_is_escaped_and_nothing_else_is():
    assert texts.printable(NASTY) == SEEN
    same = "Ä ñ 猫 \U0001f600 \U0001f469\u200d\U0001f52c می\u200cخواهم\n\ttab"
    assert texts.printable(same) == same


@given(st.text(st.characters(codec=None)))
def test_no_text_has_anything_left_to_obey(text):
    found = texts.printable(text)
    assert not OBEYED.search(found)
    assert all(unicodedata.category(c) not in ("Cc", "Cs") or c in "\n\t" for c in found)
    found.encode("utf-8")


def test_every_word_comes_out_of_the_shell_as_it_went_in(tmp_path):
    names = [
        "a b", "it's", '"', "$(touch ran)", "`touch ran`", ";touch ran", "a\nb", "\\", "*", "-x", "!!", "~", "", "#c",
        "Ä", "\x1b[2J", "\udcff\udc80", "\u202e", "'\x07\\'",
    ]  # fmt: skip
    line = f"printf '%s\\0' {texts.shell(names)}"
    assert not OBEYED.search(line)
    environment = os.environ | {"LC_ALL": "C.UTF-8"}
    out = subprocess.run(["bash", "-c", line], capture_output=True, check=True, cwd=tmp_path, env=environment).stdout
    assert out.split(b"\0")[:-1] == [os.fsencode(name) for name in names]
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("words", [["rank"], ["run", "--resume"], ["search", "--join"], ["retrain"], ["export"]])
@pytest.mark.parametrize("name", ["my runs; touch ran", "it's", "$(touch ran)", "\x1b[2J"])
def test_what_is_advised_about_a_folder_can_be_pasted(words, name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words, "--out", name]) == 2
    said = capsys.readouterr().err
    assert not OBEYED.search(said)
    if "poolsearch run --out" in said:
        shown = re.search(r"--out (.*)\n", said)
        assert shown and shown[1] == texts.shell([name])
        assert not name.isprintable() or shlex.split(shown[1]) == [name]


def test_no_advice_is_put_together_but_by_the_helper():
    """A path in a command is quoted: nothing else writes one."""
    unquoted = re.compile(r"--out \{|(?<!texts)\bshlex\b")
    found = [p.name for p in SOURCE.rglob("*.py") if p.name != "texts.py" and unquoted.search(p.read_text("utf-8"))]
    assert not found


def test_all_that_is_printed_goes_through_one_console():
    found = [p.name for p in SOURCE.rglob("*.py") if "rich.console import Console" in p.read_text("utf-8")]
    assert found == ["progress.py"]


@pytest.mark.parametrize("terminal", [False, True])
def test_names_neither_style_nor_control_the_terminal(terminal, capsys):
    shown = ConsoleProgress(every_seconds=0)
    shown._console = PlainConsole(stderr=True, soft_wrap=True, force_terminal=terminal, width=200)
    shown.say(NASTY)
    with shown.bar(NASTY, 10) as update:
        shown.table(ProgressTable(NASTY, (NASTY, "x"), [(NASTY, "y")]), NASTY)
        update(5, NASTY)
    text = re.sub("\x1b\\[[0-9;?]*[A-Za-z]", "", capsys.readouterr().err).replace("\r", "")  # what rich itself writes
    assert not OBEYED.search(text)
    assert text.count(SEEN) >= (5 if terminal else 3)


def test_nor_in_a_table_of_results(capsys):
    from rich.table import Table as RichTable

    table = RichTable(NASTY, title=NASTY, caption=NASTY)
    table.add_row(NASTY)
    PlainConsole(width=200).print(table)
    text = capsys.readouterr().out
    assert not OBEYED.search(text) and text.count(SEEN) == 4


def test_markdown_means_itself():
    assert texts.markdown("# a_b *c* <script> [x](y) `d` |\n- e") == (r"\# a\_b \*c\* \<script\> \[x\](y) \`d\` \| - e")
