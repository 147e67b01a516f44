"""A run folder that somebody else made: none of its Python runs, whatever the command, before the user says so."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import py_compile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import poolsearch
from damage import forget_digests
from poolsearch.cli.main import main
from poolsearch.errors import PoolsearchError
from poolsearch.nets.build import NetSpec, build
from poolsearch.progress import SilentProgress
from poolsearch.session import trusted
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.storage.files import sha256

# What it would do is shown by a file that it leaves; then it fails, so that nothing is trained
EVIL = """
import pathlib
pathlib.Path({marker!r}).touch()

def make(*anything):
    raise RuntimeError("it ran")
"""

NET = """
from torch import nn

def make(classes):
    one, two, three = (nn.Conv2d(n, 4, 3, padding=1) for n in (3, 4, 4))
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, classes)]
    return nn.Sequential(one, nn.ReLU(), two, nn.ReLU(), nn.MaxPool2d(2), three, *head)
"""

Command = Callable[..., tuple[int, str]]


@pytest.fixture(autouse=True)
def nothing_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has named nothing yet, in a folder of their own."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "here" / "runs").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    return tmp_path / "ran"


@pytest.fixture
def evil(tmp_path: Path, marker: Path) -> Callable[[str], Path]:
    """Puts the file somewhere, given relative to the folder where the user works."""

    def put(where: str) -> Path:
        path = Path(where)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(EVIL.format(marker=str(marker)))
        return path.resolve()

    return put


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Command:
    """The command line, as far as it comes."""

    def run(*arguments: str | Path) -> tuple[int, str]:
        code = main([str(a) for a in arguments])
        return code, capsys.readouterr().err

    return run


def strangers(folder: str, **fields: Any) -> Path:
    """A run folder with these settings, as far as a stranger has to write one."""
    out = Path(folder)
    out.mkdir(parents=True, exist_ok=True)
    given = Settings.of(**{"device": "cpu", "precision": "fp32", **fields}).to_dict()
    record = {"given": given, "stages": [{"stage": "search"}], "warnings": []}
    (out / "run.json").write_text(json.dumps(record))
    return out


COMMANDS = ["run --resume", "search --resume", "search --join", "rank", "retrain", "export"]


@pytest.mark.parametrize("bare", [False, True], ids=["named", "newest"])
@pytest.mark.parametrize("words", COMMANDS)
def test_a_network_that_came_with_the_folder_does_not_run(
    words: str, bare: bool, evil: Callable[[str], Path], marker: Path, command: Command
) -> None:
    path = evil("runs/them/net.py")
    out = strangers("runs/them", net=f"{path}:make", method="sweep" if "join" in words else "mixture")
    code, said = command(*words.split(), *([] if bare else ["--out", out]))
    assert not marker.exists()
    assert code == 2 and str(path) in said and sha256(path.read_bytes()) in said and "--trust" in said
    assert not bare or "Taking the newest run in runs/: runs/them" in said


@pytest.mark.parametrize("words", ["run --resume", "search --resume"])
def test_nor_does_a_sampler(words: str, evil: Callable[[str], Path], marker: Path, command: Command) -> None:
    path = evil("elsewhere/sampler.py")
    out = strangers("runs/them", method=f"{path}:make", width=2)
    code, said = command(*words.split(), "--out", out)
    assert not marker.exists()
    assert code == 2 and "have not named before" in said and sha256(path.read_bytes()) in said


@pytest.mark.parametrize("named", ["net", "method", "spec"])
def test_nor_does_a_comparison_run_what_its_record_names(
    named: str, evil: Callable[[str], Path], marker: Path, command: Command
) -> None:
    path = evil("runs/them/code.py")
    given = Settings.of(net=f"{path}:make" if named == "net" else None, device="cpu", precision="fp32")
    spec = {"net": "spos", "method": f"{path}:make", "spec": f"spos:net={path}:make"}[named]
    record = {
        "given": given.to_dict(),
        "compare": {"methods": [spec], "seeds": 1, "total_epochs": None, "truth": "picks"},
    }
    (Path("runs/them") / "compare.json").write_text(json.dumps(record))
    # another method that the user types makes none of the record's files theirs
    for typed in ([], ["--methods", "spos"] if named == "net" else []):
        code, said = command("compare", "--resume", "--out", "runs/them", *typed)
        assert not marker.exists()
        assert code == 2 and "--trust" in said and str(path) in said


def test_nor_does_a_recipe(evil: Callable[[str], Path], marker: Path, command: Command) -> None:
    path = evil("runs/them/net.py")
    record = {"recipe": "figure1", "options": {"scale": "full", "data": "digits", "net": f"{path}:make"}}
    (Path("runs/them") / "recipe.json").write_text(json.dumps(record))
    code, said = command("recipe", "figure1", "--resume", "--out", "runs/them")
    assert not marker.exists()
    assert code == 2 and "--trust" in said and str(path) in said


def test_from_python_nothing_runs_that_the_call_does_not_name(evil: Callable[[str], Path], marker: Path) -> None:
    path = evil("elsewhere/net.py")
    out = strangers("runs/them", net=f"{path}:make")
    with pytest.raises(PoolsearchError, match="have not named before"):
        poolsearch.rank(out)
    assert not marker.exists()
    with pytest.raises(PoolsearchError, match="it ran"):  # naming it in Python is naming it
        poolsearch.run(out, Settings.of(net=f"{path}:make", device="cpu", precision="fp32"), resume=True)
    assert marker.exists()


def test_with_trust_it_runs_and_is_remembered(evil: Callable[[str], Path], marker: Path, command: Command) -> None:
    out = strangers("runs/them", net=f"{evil('elsewhere/net.py')}:make")
    assert "it ran" in command("rank", "--trust", "--out", out)[1]
    marker.unlink()
    assert "it ran" in command("rank", "--out", out)[1] and marker.exists()


def test_what_lies_in_the_folder_needs_trust_every_time(
    evil: Callable[[str], Path], marker: Path, command: Command
) -> None:
    """It may read data that lies beside it, which no digest covers."""
    out = strangers("runs/them", net=f"{evil('runs/them/net.py')}:make")
    assert "it ran" in command("rank", "--trust", "--out", out)[1]
    marker.unlink()
    code, said = command("rank", "--out", out)
    assert code == 2 and "lies inside that folder" in said and not marker.exists()


def test_a_file_that_is_named_again_runs(evil: Callable[[str], Path], marker: Path, command: Command) -> None:
    path = evil("elsewhere/net.py")
    out = strangers("runs/them", net=f"{path}:make")
    assert "it ran" in command("run", "--resume", "--net", "elsewhere/net.py:make", "--out", out)[1]
    assert marker.exists()


def test_the_same_content_elsewhere_is_not_what_was_named(
    evil: Callable[[str], Path], marker: Path, command: Command
) -> None:
    """A copy of a file that many have, beside helpers of a stranger's."""
    out = strangers("runs/mine", net=f"{evil('mine/net.py')}:make")
    assert "it ran" in command("rank", "--trust", "--out", out)[1]
    marker.unlink()
    out = strangers("runs/them", net=f"{evil('theirs/net.py')}:make")
    assert "have not named before" in command("rank", "--out", out)[1] and not marker.exists()


@pytest.mark.parametrize("begun", ["with it", "without it"])
def test_what_a_file_imports_is_trusted_only_as_it_was(
    begun: str, evil: Callable[[str], Path], marker: Path, command: Command
) -> None:
    net = Path("elsewhere/net.py").resolve()
    net.parent.mkdir()
    net.write_text("import helper_beside\ndef make(classes): raise RuntimeError('as it was')")
    helper = net.with_name("helper_beside.py")
    helper.write_text("")
    code = {str(path): sha256(path.read_bytes()) for path in ([net, helper] if begun == "with it" else [net])}
    out = strangers("runs/them", net=f"{net}:make")
    (out / "run.json").write_text(json.dumps(json.loads((out / "run.json").read_text()) | {"code": code}))
    assert "as it was" in command("rank", "--trust", "--out", out)[1]
    assert "as it was" in command("rank", "--out", out)[1]
    evil("elsewhere/helper_beside.py")
    code_, said = command("rank", "--out", out)
    assert not marker.exists()
    assert code_ == 2 and f"{helper} (imported by {net}, SHA-256 {sha256(helper.read_bytes())})" in said
    assert ("not what the run was begun with" if begun == "with it" else "have not named before") in said
    command("rank", "--trust", "--out", out)
    assert marker.exists()


@pytest.fixture
def mine() -> Path:
    path = Path("mine.py").resolve()
    path.write_text(NET)
    return path


def test_a_run_of_ones_own_goes_on_until_its_file_changes(
    mine: Path, marker: Path, command: Command, tiny: Callable[..., Settings]
) -> None:
    out, helper, new = Path("runs/mine"), mine.with_name("helper_beside.py"), mine.with_name("new_beside.py")
    mine.write_text(NET + "\nimport helper_beside\n")
    helper.write_text("try:\n    import new_beside\nexcept ImportError:\n    pass\n")
    poolsearch.search(out, tiny(net="mine.py:make", width=None, members=1))
    record = json.loads((out / "run.json").read_text())
    assert record["code"] == {str(path): sha256(path.read_bytes()) for path in (mine, helper)}
    with open_run(out, None, True, SilentProgress()) as run:
        # a worker process has what it must find in the file, and asks nobody
        assert pickle.loads(pickle.dumps(run)).net_spec.digest == sha256(mine.read_bytes())
    mine.write_text(f"{mine.read_text()}\nimport pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    code, said = command("rank", "--out", out)
    assert code == 2 and "is not what the run was begun with" in said and not marker.exists()
    helper.write_text(helper.read_text() + "# changed\n")
    new.touch()
    assert command("rank", "--trust", "--quiet", "--out", out)[0] == 0 and marker.exists()
    record = json.loads((out / "run.json").read_text())
    assert record["code"] == {str(path): sha256(path.read_bytes()) for path in (mine, helper, new)}
    for path in (mine, helper):
        assert any(f"resumed with another {path}" in text for text in record["warnings"])
    assert [f"resumed with {new}, which is imported now" in text for text in record["warnings"]].count(True) == 1


def test_a_run_of_before_digests_were_kept_needs_trust_once(
    mine: Path, command: Command, tiny: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = Path("runs/mine")
    poolsearch.search(out, tiny(net=f"{mine}:make", width=None, members=1))
    record = json.loads((out / "run.json").read_text())
    del record["code"]
    (out / "run.json").write_text(json.dumps(record))
    forget_digests(out)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another home"))
    assert command("rank", "--quiet", "--out", out)[0] == 2
    assert command("rank", "--quiet", "--trust", "--out", out)[0] == 0
    assert command("rank", "--quiet", "--out", out)[0] == 0


def test_what_runs_is_what_was_looked_at(mine: Path, marker: Path) -> None:
    """Neither what the file became since, nor a compiled file beside it."""
    digest = sha256(mine.read_bytes())
    evil = Path("evil.py")
    evil.write_text(NET + f"\nimport pathlib\npathlib.Path({str(marker)!r}).touch()\n")
    cached = importlib.util.cache_from_source(str(mine))
    py_compile.compile(str(evil), cached, invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    build(NetSpec(f"{mine}:make", 3, image_size=16, digest=digest))
    assert not marker.exists()
    evil.replace(mine)
    with pytest.raises(PoolsearchError, match="changed while the run was under way"):
        build(NetSpec(f"{mine}:make", 3, image_size=16, digest=digest))
    assert not marker.exists()


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_what_is_trusted_is_private(evil: Callable[[str], Path], marker: Path, command: Command) -> None:
    out = strangers("runs/them", net=f"{evil('elsewhere/net.py')}:make")
    command("rank", "--trust", "--out", out)
    path = Path(os.environ["XDG_STATE_HOME"]) / "poolsearch" / "trusted.jsonl"
    assert path.stat().st_mode & 0o777 == 0o600 and path.parent.stat().st_mode & 0o777 == 0o700
    marker.unlink()
    path.chmod(0o666)
    code, said = command("rank", "--out", out)
    assert code == 2 and "others can write it" in said and not marker.exists()
    path.chmod(0o600)
    path.rename(path.with_name("of a stranger"))
    path.symlink_to(path.with_name("of a stranger"))
    code, said = command("rank", "--out", out)
    assert code == 2 and "have not named before" in said and not marker.exists()


def test_where_nothing_can_be_remembered_it_is_said(
    mine: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    told: list[str] = []

    class Heard(SilentProgress):
        def say(self, text: str) -> None:
            told.append(text)

    gate = trusted.FolderPermissions(Path("runs/mine"), trusted.NAMED, frozenset({mine}))
    assert gate.code(Settings.of(net=f"{mine}:make"), Heard()) == {str(mine): sha256(mine.read_bytes())}
    assert "cannot be remembered" in told[0] and "XDG_STATE_HOME" in told[0]


def test_a_run_folder_does_not_say_where_files_are_written(command: Command, tmp_path: Path) -> None:
    cache = tmp_path / "somewhere"
    out = strangers("runs/them", cache_dir=str(cache), width=2)
    _, said = command("rank", "--out", out)
    assert not cache.exists() and "no folder that you named" in said
    command("run", "--resume", "--cache-dir", cache, "--members", "0", "--out", out)  # named, but a mistake beside it
    assert json.loads((out / "run.json").read_text())["given"]["data"]["cache_dir"] == str(cache)
    command("rank", "--trust", "--out", out)
    assert cache.exists()
