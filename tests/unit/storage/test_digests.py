"""Digests of a run's files: kept as they are written, compared when they are read, right at every moment of a kill."""

import hashlib
import os
import shutil
import subprocess
import sys

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.storage import digests, disk, files, run_dir


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    files.write_text(folder / "run.json", '{"digests": "SHA256SUMS"}')
    digests.begin(folder)
    return folder


def digest(text):
    return hashlib.sha256(text.encode()).hexdigest()


def lines(folder):
    return digests.read(folder)


def test_every_file_that_is_written_is_listed_and_people_can_check_it(run):
    trial = run / "sweep" / "4,3,3" / "0"
    for folder in (run, trial, run / "checkpoint"):
        files.write_text(folder / "a.json", "one")
        files.write_text(folder / "a.json", "two")
        files.write_text(folder / "b.json", "three")
        assert {("a.json", digest("two")), ("b.json", digest("three"))} <= {
            (name, found) for found, name in lines(folder)
        }
        checked = subprocess.run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=folder, capture_output=True)
        assert checked.returncode == 0, checked.stderr
    assert files.read_bytes(trial / "a.json") == b"two"


@pytest.mark.parametrize("change", [lambda _: b"", lambda data: data[:-1], lambda data: data + b" ", lambda _: b"{}"])
def test_a_file_that_changed_is_named_with_what_to_do(run, change):
    files.write_json(run / "ranking.json", {"placements": 36})
    path = run / "ranking.json"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(PoolsearchError, match=r"ranking\.json is damaged.*SHA256SUMS.*poolsearch rank --out"):
        files.read_json(path)


def test_a_file_that_the_run_did_not_write_is_not_used(run):
    (run / "ranking.csv").write_text("rank\n1\n")
    with pytest.raises(PoolsearchError, match="SHA256SUMS beside it does not list it"):
        files.read_csv(run / "ranking.csv", ("rank",))


def test_the_file_of_another_folder_is_not_used(run):
    trials = [run / "retrain" / "4,3,3" / seed for seed in "01"]
    for seed, trial in enumerate(trials):
        files.write_json(trial / "metrics.json", {"seed": seed})
    shutil.copy(trials[0] / "metrics.json", trials[1] / "metrics.json")
    with pytest.raises(PoolsearchError, match="not as it was written"):
        files.read_json(trials[1] / "metrics.json")
    assert files.read_json(trials[0] / "metrics.json") == {"seed": 0}


def test_a_folder_without_its_digests_is_refused_where_its_run_keeps_them(run):
    path = run / "retrain" / "4,3,3" / "0" / "metrics.json"
    files.write_json(path, {})
    (path.parent / "SHA256SUMS").unlink()
    with pytest.raises(PoolsearchError, match=r"metrics\.json is damaged.*SHA256SUMS.* is missing"):
        files.read_json(path)
    (run / "SHA256SUMS").unlink()
    with pytest.raises(PoolsearchError, match=r"SHA256SUMS is missing.*sha256sum FILES > SHA256SUMS"):
        files.check_digests(run_dir.RunDir(run), files.read_json(run / "run.json"))


def test_digests_made_anew_by_the_common_tool_are_accepted(run):
    files.write_text(run / "ranking.csv", "rank\n1\n")
    (run / "ranking.csv").write_text("rank\n1\n2\n")  # on purpose
    subprocess.run("sha256sum run.json ranking.csv > SHA256SUMS", shell=True, cwd=run, check=True)
    assert len(files.read_csv(run / "ranking.csv", ("rank",))) == 2


def test_a_run_of_before_there_were_digests_is_read_as_it_is(tmp_path):
    files.write_text(tmp_path / "run.json", "{}")
    files.write_text(tmp_path / "ranking.json", "{}")
    (tmp_path / "ranking.json").write_text("[]")
    assert files.read_json(tmp_path / "ranking.json") == []
    assert not (tmp_path / "SHA256SUMS").exists()
    files.check_digests(run_dir.RunDir(tmp_path), {})


def test_no_digests_are_left_outside_of_runs(tmp_path):
    files.write_text(tmp_path / "plan.json", "{}")
    (tmp_path / "SHA256SUMS").write_text("of the user's own\n")
    files.write_text(tmp_path / "plan.json", "{}")
    assert (tmp_path / "SHA256SUMS").read_text() == "of the user's own\n"


@pytest.mark.parametrize("damage", [b"\xff", b"no digest  run.json\n", b"0" * (2 << 20)])
def test_damaged_digests_are_named(run, damage):
    (run / "SHA256SUMS").write_bytes(damage)
    with pytest.raises(PoolsearchError, match="SHA256SUMS is damaged"):
        files.read_json(run / "run.json")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("calls", range(17))
def test_killed_at_any_moment_the_file_is_one_of_those_listed_and_the_next_write_tidies_up(run, monkeypatch, calls):
    path = run / "test.json"
    files.write_text(path, "old")
    left = calls

    def killed_at(call):
        def act(*given, **options):
            nonlocal left
            left -= 1
            if left < 0:
                raise Killed
            return call(*given, **options)

        return act

    for module, name in ((os, "replace"), (os, "fsync"), (os, "mkdir")):
        monkeypatch.setattr(module, name, killed_at(getattr(module, name)))
    try:
        files.write_text(path, "new")
        ended = True
    except Killed:
        ended = False
    monkeypatch.undo()
    text = files.read_bytes(path).decode()
    assert text in ("old", "new") and (text == "new" or not ended)
    files.write_text(path, "newer")
    assert [found for found, name in lines(run) if name == "test.json"] == [digest("newer")]
    # each of three files: two folders made, the file synchronised, renamed, its folder synchronised
    # (of the folders one by pathlib, which before Python 3.11 has an os.mkdir of its own)
    assert ended == (calls >= (15 if sys.version_info >= (3, 11) else 12))


def test_a_reader_beside_the_writer_never_sees_a_file_that_is_not_listed(run, monkeypatch):
    path = run / "test.json"
    files.write_text(path, "0")
    read, count = digests.read, 0

    def read_after_a_write(folder):
        nonlocal count
        count += 1
        if count <= 5:  # between the reader's look at the file and at the digests
            monkeypatch.setattr(digests, "read", read)
            files.write_text(path, str(count))
            monkeypatch.setattr(digests, "read", read_after_a_write)
        return read(folder)

    monkeypatch.setattr(digests, "read", read_after_a_write)
    assert files.read_bytes(path) == b"5"


def test_a_file_that_grows_is_listed_when_it_is_whole(run):
    path = run / "events.jsonl"
    disk.append(path, "{}\n")
    assert files.read_bytes(path, growing=True) == b"{}\n"
    digests.seal(path)
    path.write_text("{\n")
    with pytest.raises(PoolsearchError, match=r"events\.jsonl is damaged"):
        files.read_bytes(path, growing=True)
    digests.drop(path)
    disk.append(path, "{}\n")
    assert files.read_bytes(path, growing=True) == b"{\n{}\n"


def test_what_is_removed_is_listed_no_more(run):
    files.write_text(run / "checkpoint" / "rank.safetensors", "x")
    files.remove(run / "checkpoint" / "rank.safetensors")
    assert lines(run / "checkpoint") == []
    files.remove(run / "checkpoint" / "rank.safetensors")


def test_pages_and_what_was_exported_are_not_listed(run):
    files.write_text(run / "export" / "export.json", "{}")
    (run / "export" / "export.json").write_text("[]")
    assert files.read_json(run / "export" / "export.json") == []
