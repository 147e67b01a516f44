"""The command line: what help shows, what is typed, files of settings, and the page of all settings."""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from poolsearch.cli.commands import COMMANDS
from poolsearch.cli.commands.research_commands import Compare
from poolsearch.cli.commands.run_commands import Run
from poolsearch.cli.main import _parse, main
from poolsearch.cli.options import make_parser
from poolsearch.cli.reference import reference
from poolsearch.errors import PoolsearchError
from poolsearch.settings import Settings
from poolsearch.settings.config_file import config_text, read_config
from poolsearch.settings.settings import DECLARED

DOCS = Path(__file__).parents[3] / "docs"


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    def of(*words: str) -> str:
        with pytest.raises(SystemExit) as stop:
            main(words)
        assert stop.value.code == 0
        return capsys.readouterr().out

    return of


def flags_in(text: str) -> set[str]:
    return set(re.findall(r"^  (--[a-z-]+)", text, re.M))


def test_help_shows_what_a_practitioner_needs(shown: Callable[..., str]) -> None:
    flags = flags_in(shown("run", "--help")) - {"--help-all"}
    assert 25 <= len(flags) <= 32
    asked_for = "data image-size fit metric net init halvings max-macs max-memory max-latency method hours preset"
    asked_for += " trials epochs batch lr top-k retrain-seeds device workers seed out resume quiet config"
    assert {f"--{name}" for name in asked_for.split()} <= flags


def test_all_of_help_shows_every_setting_once(shown: Callable[..., str]) -> None:
    text = shown("run", "--help-all")
    assert {one.flag for one in DECLARED.values()} <= flags_in(text)
    assert all(text.count(f"\n  {one.flag} ") + text.count(f"\n  {one.flag}\n") == 1 for one in DECLARED.values())
    assert "only --method mcts:\n  --ucb-c" in text


@pytest.mark.parametrize("command", COMMANDS)
def test_lines_of_help_are_filled(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """No line of an option's text breaks where the next word would still have fitted."""
    monkeypatch.setenv("COLUMNS", "80")
    lines = _subparser_help(command).splitlines()
    for line, following in pairwise(lines):
        if line.startswith(" " * 26) and following.startswith(" " * 26):
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def _subparser_help(command: str) -> str:
    parser = make_parser(COMMANDS, command, everything=True)
    choices = next(action.choices for action in parser._actions if action.choices)
    return dict(choices)[command].format_help()  # pyright: ignore[reportCallIssue, reportArgumentType]


def settings_of(*words: str) -> Settings:
    command = _parse(["run", "--out", "x", *words])
    assert isinstance(command, Run)
    return command.settings


def test_what_is_typed_has_the_type_of_its_setting() -> None:
    typed = "--epochs 3 --lr=0.5 --answer-at --control macs random --op none --rank-early-stop --score-init first"
    made = settings_of(*typed.split())
    assert made == Settings.of(
        epochs=3, lr=0.5, answer_at=(), control=("macs", "random"), rank_early_stop=True, score_init="first"
    )
    assert settings_of() == Settings()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epohcs", "3"], "unknown option of 'poolsearch run': '--epohcs'. Did you mean '--epochs'"),
        (["--epochs", "many"], "--epochs many: give a whole number or none."),
        (["--op", "maxx"], "--op maxx: give max or avg or blur or stride or native or none."),
        (["--epochs"], "--epochs: expected one argument"),
        (["here", "there"], "'there' is one word too many"),
        (["here"], "two runs are named: here and, with --out, x"),
        (["--config", "gone.toml"], "--config gone.toml cannot be read"),
    ],
)
def test_mistakes_are_told_with_what_is_allowed(words: list[str], message: str) -> None:
    with pytest.raises(PoolsearchError, match=re.escape(message)):
        settings_of(*words)


def test_an_option_of_other_commands_is_said_to_be_one() -> None:
    with pytest.raises(PoolsearchError, match="'poolsearch costs' has no use for --init, an option of run, search"):
        _parse(["costs", "cifar-resnet20", "--init=pretrained"])


def test_a_folder_is_named_with_or_without_a_flag() -> None:
    for words in (["run", "runs/x", "--resume"], ["report", "runs/x"], ["rank", "runs/x"], ["retrain", "--out=runs/x"]):
        assert _parse(words).where.out == Path("runs/x")  # pyright: ignore[reportAttributeAccessIssue]
    compare = _parse(["compare", "runs/x", "--seeds", "5"])
    assert isinstance(compare, Compare) and (compare.where.out, compare.compare.seeds) == (Path("runs/x"), 5)


def test_flags_win_over_a_file_of_settings(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('data = "cifar10"\n\n[search]\nmembers = 2\nval-every = 3\n\n[retrain]\nanswer_at = [0.5, 2.0]\n')
    made = settings_of("--config", str(file), "--members", "8")
    assert made == Settings.of(data="cifar10", members=8, val_every=3, answer_at=(0.5, 2.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("members = ", "is not a TOML file"),
        ("member = 2", "Did you mean 'members'"),
        ("[serch]\nmembers = 2", r"there is no group \[serch\]"),
    ],
)
def test_a_file_of_settings_that_is_wrong_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(PoolsearchError, match=f"--config .*mine.toml.*{message}"):
        settings_of("--config", str(file))


def test_every_setting_goes_through_a_file(tmp_path: Path) -> None:
    changed = {
        name: (
            not one.default if one.hint is bool
            else "a 'quoted' \"text\" \\ \u00e9 \x7f" if name == "data"
            else ("4,3,3",) if name == "placements"
            else "spos" if name == "method"
            else 0.125 if name in ("lr", "explore")
            else one.default
        )
        for name, one in DECLARED.items()
    }  # fmt: skip
    given = Settings.of(**changed)
    file = tmp_path / "config.toml"
    file.write_text(config_text(given), "utf-8")
    assert Settings.of(**read_config(file)) == given


def test_the_page_of_all_settings_is_up_to_date() -> None:
    # written anew by: python -m poolsearch.cli.reference > docs/settings.md
    assert (DOCS / "settings.md").read_text("utf-8") == reference()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("data = 5", "--data is 5; it must be str"),
        ("self = 1", "unknown setting 'self'"),
        ("epochs = 1\n[search]\nepochs = 2", "gives epochs twice"),
        ("[machine]\nepochs = 2", r"epochs does not belong to \[machine\]"),
        ("members = 0", "--members is 0; allowed is at least 1"),
    ],
)
def test_values_of_a_file_are_checked_and_the_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.toml"
    file.write_text(text)
    with pytest.raises(PoolsearchError, match=f"^--config .*mine.toml.*{message}"):
        settings_of("--config", str(file))


def test_a_file_of_settings_may_come_from_windows_and_must_be_a_file(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_bytes(b"\xef\xbb\xbfmembers = 2\r\n")
    assert settings_of("--config", str(file)) == Settings.of(members=2)
    with pytest.raises(PoolsearchError, match=r"^--config \S+ is no file. Name a TOML file of settings\.$"):
        settings_of("--config", str(tmp_path))


def test_a_switch_of_a_file_is_turned_off_by_its_opposite(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text("deterministic = true")
    assert settings_of("--config", str(file)).machine.deterministic
    assert not settings_of("--config", str(file), "--no-deterministic").machine.deterministic


def test_plan_runs_no_python_file_that_only_a_file_of_settings_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, file = tmp_path / "evil.py", tmp_path / "mine.toml"
    code.write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef make(classes): ...\n")
    file.write_text(f"net = '{code}:make'\nsubset = 300\n")
    assert main(["plan", "--config", str(file), "--quiet"]) == 2
    assert "would run the Python file" in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed=1", "run"], "--seed=1 stands before the command. Options go after it: poolsearch run --seed=1"),
        (["run", "--out", "~nobody-of-that-name/x"], "a user that this machine does not have"),
        (["run", "--epochs", "0", "--out", "x" * 300], "--epochs is 0"),
        (["rank", "x" * 300], "File name too long"),
    ],
)
def test_mistakes_have_no_traceback(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in capsys.readouterr().err


def test_a_width_of_the_terminal_that_is_no_number_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, shown: Callable[..., str]
) -> None:
    monkeypatch.setenv("COLUMNS", "wide")
    assert "--seed N" in shown("run", "--help")
    assert "(default: 0)" in shown("run", "--help")


def test_a_switch_that_is_off_goes_on_with_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _parse(["run", "--no-resume"]).where.out == Path("runs/digits")  # pyright: ignore[reportAttributeAccessIssue]
