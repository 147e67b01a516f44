"""Atomic writing, the lock, and reading what may be damaged."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from poolsearch.errors import PoolsearchError
from poolsearch.storage import disk, files, locks, run_dir
from poolsearch.train import checkpoint

FULL = Path("/dev/full")


@pytest.fixture
def target(tmp_path):
    path = tmp_path / "run.json"
    path.write_text("old")
    return path


def only(folder):
    return sorted(p.name for p in folder.iterdir())


def test_the_new_file_takes_the_place_of_the_old(target):
    with files.atomic(target) as temporary:
        temporary.write_text("new")
        assert target.read_text() == "old"  # until the end
        assert temporary.parent.parent == target.parent  # the same file system: the move is atomic
    assert target.read_text() == "new"
    assert only(target.parent) == ["run.json"]


def test_missing_folders_are_made(tmp_path):
    files.write_text(tmp_path / "a" / "b" / "c.txt", "é")
    assert (tmp_path / "a" / "b" / "c.txt").read_bytes() == "é".encode()


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_block_that_raises_leaves_the_old_file_alone(target, error):
    with pytest.raises(error), files.atomic(target) as temporary:
        temporary.write_text("half of")
        raise error
    assert target.read_text() == "old"
    assert only(target.parent) == ["run.json"]


def test_the_content_is_on_the_disk_before_the_name(target, monkeypatch):
    calls = []
    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: calls.append(("fsync", os.fstat(fd).st_size)) or fsync(fd))
    monkeypatch.setattr(os, "replace", lambda a, b: calls.append(("replace", None)) or replace(a, b))
    files.write_text(target, "four")
    assert calls[:2] == [("fsync", 4), ("replace", None)]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_is_said_and_the_old_file_kept(target):
    with (
        pytest.raises(PoolsearchError, match=r"no space left while writing .*run.json.*intact.*--resume") as caught,
        files.atomic(target) as temporary,
    ):
        temporary.unlink()
        temporary.symlink_to(FULL)  # every write to it fails as on a full disk
        temporary.write_text("new")
    assert isinstance(caught.value.__cause__, OSError)
    assert target.read_text() == "old"
    assert only(target.parent) == ["run.json"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_space_that_runs_out_at_the_end_is_said_too(target, monkeypatch, number, call):
    def fail(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(PoolsearchError, match="no space left"):
        files.write_text(target, "new")
    monkeypatch.undo()
    assert target.read_text() == "old"
    assert only(target.parent) == ["run.json"]


def test_other_errors_of_the_disk_keep_their_name(target, monkeypatch):
    def fail(*_):
        raise PermissionError(errno.EACCES, "no")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(PermissionError):
        files.write_text(target, "new")


def test_json_goes_round_and_ends_with_a_line(tmp_path):
    value = {"a": [1, 2.5, None], "b": {"c": "é"}}
    files.write_json(tmp_path / "x.json", value)
    assert files.read_json(tmp_path / "x.json") == value == json.loads((tmp_path / "x.json").read_text())
    assert (tmp_path / "x.json").read_text().endswith("}\n")


def test_a_missing_file_asks_whether_this_is_a_run_folder(tmp_path):
    with pytest.raises(PoolsearchError, match=r"run.json does not exist. Is '.*' a run folder"):
        files.read_json(tmp_path / "run.json")


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xfe{}"])
def test_a_damaged_file_says_so(tmp_path, content):
    (tmp_path / "x.json").write_bytes(content)
    with pytest.raises(PoolsearchError, match=r"x.json is damaged.*--out"):
        files.read_json(tmp_path / "x.json")


def in_another_process(folder):
    code = """
import sys
from pathlib import Path
from poolsearch.errors import PoolsearchError
from poolsearch.train import checkpoint
from poolsearch.train import checkpoint
from poolsearch.storage.locks import locked
try:
    with locked(Path(sys.argv[1])):
        print("held")
except PoolsearchError as error:
    print(error)
"""
    return subprocess.run([sys.executable, "-c", code, str(folder)], capture_output=True, text=True, check=True).stdout


def test_a_folder_is_held_by_one_process_at_a_time(tmp_path):
    with locks.locked(tmp_path / "run"):
        assert "another process is working in" in in_another_process(tmp_path / "run")
        assert in_another_process(tmp_path / "other") == "held\n"
    assert in_another_process(tmp_path / "run") == "held\n"


def test_a_holder_that_fails_lets_go(tmp_path):
    with pytest.raises(RuntimeError), locks.locked(tmp_path):
        raise RuntimeError
    assert in_another_process(tmp_path) == "held\n"


def test_a_holder_that_is_killed_lets_go(tmp_path):
    code = """
import os, sys
from pathlib import Path
from poolsearch.storage.locks import locked
with locked(Path(sys.argv[1])):
    os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -9
    assert in_another_process(tmp_path) == "held\n"


def test_sha256_of_parts_is_that_of_the_whole():
    expected = hashlib.sha256(b"one two").hexdigest()
    assert files.sha256(b"one", b" ", memoryview(b"two")) == expected
    assert files.sha256() == hashlib.sha256(b"").hexdigest()


def test_every_path_of_a_run_lies_in_its_folder(tmp_path):
    run = run_dir.RunDir(tmp_path)
    paths = [getattr(run, name) for name, value in vars(run_dir.RunDir).items() if isinstance(value, property)]
    assert len(paths) == len({*paths}) >= 12
    assert all(path.is_relative_to(tmp_path) for path in paths)


def test_a_folder_in_which_nothing_was_begun_is_gone_again(tmp_path):
    with locks.locked(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()
    with locks.locked(tmp_path / "run"):
        files.write_text(tmp_path / "run" / "run.json", "{}")
    assert (tmp_path / "run" / "run.json").read_text() == "{}"


def test_a_checkpoint_has_the_rights_of_any_new_file(tmp_path):
    plain = tmp_path / "plain"
    plain.touch()
    checkpoint.save(tmp_path / "c.safetensors", {"x": torch.ones(2)}, {})
    assert (tmp_path / "c.safetensors").stat().st_mode == plain.stat().st_mode


def test_numbers_that_json_does_not_have_become_null(tmp_path):
    value = {"a": [1.5, float("nan"), (float("inf"), 2)], "b": {"c": -float("inf")}, "d": "NaN", "e": True}
    files.write_json(tmp_path / "x.json", value)
    found = json.loads((tmp_path / "x.json").read_text(), parse_constant=pytest.fail)
    assert found == {"a": [1.5, None, [None, 2]], "b": {"c": None}, "d": "NaN", "e": True}


def left_by_a_killed_process(folder):
    folder.mkdir(parents=True, exist_ok=True)
    work = disk.workspace(folder)
    path = work.__enter__()
    (path / "run.json").write_text("half of")
    return path, work  # as long as it is referred to, nothing tidies up


def test_only_our_own_unfinished_files_are_deleted(tmp_path):
    files.write_text(tmp_path / "run.json", "{}")
    trial = tmp_path / "retrain" / "4,3,3" / "0"
    places = (tmp_path, tmp_path / "checkpoint", tmp_path / "figures", trial)
    gone = [left_by_a_killed_process(place) for place in places]
    kept = [
        tmp_path / ".tmpv0dHZC", tmp_path / ".notes.tmp", tmp_path / ".poolsearch-x.tmp", trial / ".tmp123456",
        tmp_path / ".git" / ".tmpabc", tmp_path / ".git" / ".poolsearch-abcd1234.tmp", trial / "model.safetensors",
    ]  # fmt: skip
    for path in kept:
        path.parent.mkdir(exist_ok=True)
        path.touch()
    locks.remove_leftovers(tmp_path)
    assert all(path.exists() for path in kept)
    assert not any(path.exists() for path, _ in gone)


def test_nothing_is_deleted_in_a_folder_that_holds_no_run(tmp_path):
    path, _work = left_by_a_killed_process(tmp_path)
    locks.remove_leftovers(tmp_path)
    assert path.exists()


def test_nothing_is_deleted_through_links(tmp_path):
    files.write_text(tmp_path / "run" / "run.json", "{}")
    kept = [left_by_a_killed_process(tmp_path / "other" / name) for name in ("", "p", "p/0")]
    for name in ("checkpoint", "sweep"):
        (tmp_path / "run" / name).symlink_to(tmp_path / "other")
    (tmp_path / "run" / "retrain").mkdir()
    (tmp_path / "run" / "retrain" / "4,3,3").symlink_to(tmp_path / "other" / "p")
    (tmp_path / "run" / ".poolsearch-abcd1234.tmp").symlink_to(tmp_path / "other")
    locks.remove_leftovers(tmp_path / "run")
    assert all(path.exists() for path, _ in kept)


HOLD = """
import sys, time
from pathlib import Path
from poolsearch.storage.locks import try_lock
with try_lock(Path(sys.argv[1])) as ours:
    print(ours, flush=True)
    time.sleep(1000)
"""


@pytest.fixture
def other_holder(tmp_path):
    """Begins processes that hold a folder until they are killed."""
    begun = []

    def hold(folder):
        process = subprocess.Popen([sys.executable, "-c", HOLD, str(folder)], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout.readline() == "True\n"
        return process

    yield hold
    for process in begun:
        process.kill()
        process.communicate()


def test_a_folder_is_held_by_one_process_until_it_ends(tmp_path, other_holder):
    folder = tmp_path / "sweep" / "4,3,3"
    assert not locks.is_held(folder) and not folder.exists(), "looking leaves nothing"
    other = other_holder(folder)
    with locks.try_lock(folder) as ours:
        assert not ours
    assert locks.is_held(folder)
    other.kill()
    other.wait()
    assert not locks.is_held(folder)
    with locks.try_lock(folder) as ours:
        assert ours and locks.is_held(folder)
        with locks.try_lock(folder) as twice:
            assert not twice
    assert not locks.is_held(folder)


def test_what_is_left_over_in_a_folder_that_is_held_may_be_being_written(tmp_path, other_holder):
    files.write_text(tmp_path / "run.json", "{}")
    places = [tmp_path / "sweep" / name / "0" for name in ("4,3,3", "5,3,2")]
    (living, _one), (dead, _two) = (left_by_a_killed_process(place) for place in places)
    for place in places:
        with locks.try_lock(place):
            pass
    other_holder(places[0])
    locks.remove_leftovers(tmp_path)
    assert living.exists() and not dead.exists()
    with locks.try_lock(places[1]) as ours:
        dead, _two = left_by_a_killed_process(places[1])
        assert ours
        locks.remove_leftovers(places[1])
    assert not dead.exists(), "who holds the folder cleans it"


def test_a_lock_that_is_a_link_is_refused_by_both_ways_of_holding(tmp_path):
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / ".lock").symlink_to(precious)
    for hold in (locks.locked, locks.try_lock):
        with pytest.raises(PoolsearchError, match=r"\.lock is a link"), hold(tmp_path):
            pass
    assert precious.read_text() == "precious"
