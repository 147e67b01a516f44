"""Writing that no link leads elsewhere, and reading that waits for nothing."""

import os
import stat

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.storage import disk


@pytest.fixture
def precious(tmp_path):
    path = tmp_path / "precious" / "file"
    path.parent.mkdir()
    path.write_text("precious")
    yield path
    assert path.read_text() == "precious"
    assert [p.name for p in path.parent.iterdir()] == ["file"]


@pytest.fixture
def run(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    return folder


def write(path):
    with disk.replacing(path) as temporary:
        temporary.write_text("new")


def test_a_link_is_replaced_and_not_followed(run, precious):
    (run / "test.json").symlink_to(precious)
    write(run / "test.json")
    assert not (run / "test.json").is_symlink()
    assert (run / "test.json").read_text() == "new"


def test_a_link_at_every_name_that_was_once_guessable_is_not_followed(run, precious):
    (run / f".test.json.{os.getpid()}.tmp").symlink_to(precious)
    write(run / "test.json")


def test_nobody_else_can_look_into_what_is_unfinished(run):
    with disk.replacing(run / "test.json") as temporary:
        assert stat.S_IMODE(temporary.parent.stat().st_mode) == 0o700


def test_names_of_unfinished_files_differ(run):
    found = set()
    for _ in range(20):
        with disk.workspace(run) as folder:
            found.add(folder.name)
            assert disk._UNFINISHED.fullmatch(folder.name)
    assert len(found) == 20


@pytest.mark.parametrize(
    "link", ["checkpoint", "sweep", "sweep/4,3,3", "sweep/4,3,3/0", "figures", "export", "scratch"]
)
@pytest.mark.parametrize("holds_a_run", [False, True])
def test_folders_of_a_run_that_are_links_are_refused_by_name(run, precious, link, holds_a_run, tmp_path):
    target = tmp_path / "another"
    target.mkdir()
    if holds_a_run:
        (target / "run.json").touch()
    before = sorted(target.iterdir())
    (run / link).parent.mkdir(parents=True, exist_ok=True)
    (run / link).symlink_to(target)
    below = run / link if link.count("/") == 2 or "sweep" not in link else run / "sweep" / "4,3,3" / "0"
    for act in (write, lambda path: disk.append(path, "new")):
        with pytest.raises(PoolsearchError, match=rf"{link} is a link"):
            act(below / "metrics.json")
    assert sorted(target.iterdir()) == before


def test_a_run_as_a_whole_may_be_a_link_and_lie_behind_links(run, tmp_path):
    (tmp_path / "disk").symlink_to(tmp_path)
    (tmp_path / "mine").symlink_to(tmp_path / "disk" / "run")
    write(tmp_path / "mine" / "checkpoint" / "search.safetensors")
    assert (run / "checkpoint" / "search.safetensors").read_text() == "new"


def test_links_inside_of_a_comparison_are_refused_down_to_its_trainings(tmp_path, precious):
    (tmp_path / "compare.json").touch()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "spos").symlink_to(precious.parent)
    with pytest.raises(PoolsearchError, match="spos is a link"):
        write(tmp_path / "runs" / "spos" / "0" / "sweep" / "4,3,3" / "0" / "metrics.json")


@pytest.mark.parametrize(
    ("folder", "found"),
    [
        ("run", "run"), ("run/sweep/4,3,3/0", "run"), ("run/checkpoint", "run"), ("run/mine", None), ("", None),
        ("run/sweep/4,3,3/0/deeper", "run"), ("elsewhere/sweep/4,3,3/0", None),
    ],
)  # fmt: skip
def test_whose_a_folder_is(run, tmp_path, folder, found):
    assert disk.owner(tmp_path / folder) == (None if found is None else tmp_path / found)


def test_a_relative_path_belongs_to_the_run_in_the_working_folder(run, monkeypatch, tmp_path, precious):
    monkeypatch.chdir(run)
    (run / "figures").symlink_to(precious.parent)
    with pytest.raises(PoolsearchError, match="figures is a link"):
        write(disk.Path("figures/ladder.svg"))
    write(disk.Path("report.html"))


def test_a_folder_where_a_file_should_be_and_a_file_where_a_folder_should_be_are_named(run):
    (run / "test.json").mkdir()
    (run / "figures").touch()
    with pytest.raises(PoolsearchError, match=r"test\.json is a folder"):
        write(run / "test.json")
    with pytest.raises(PoolsearchError, match="figures is no folder"):
        write(run / "figures" / "ladder.svg")


def test_lines_are_added_to_a_regular_file_only(run, precious):
    disk.append(run / "events.jsonl", "one\n")
    disk.append(run / "events.jsonl", "two\n")
    assert (run / "events.jsonl").read_text() == "one\ntwo\n"
    (run / "linked.jsonl").symlink_to(precious)
    (run / "dangling.jsonl").symlink_to(run / "nothing")
    os.mkfifo(run / "waiting.jsonl")
    for name, kind in (("linked", "a link"), ("dangling", "a link"), ("waiting", "a FIFO")):
        with pytest.raises(PoolsearchError, match=rf"{name}\.jsonl is {kind}"):
            disk.append(run / f"{name}.jsonl", "new")
    assert not (run / "nothing").exists()


def test_cutting_makes_a_new_file_so_that_what_shares_its_bytes_keeps_them(run, precious):
    (run / "linked").symlink_to(precious)
    disk.cut(run / "linked", 3)
    assert (run / "linked").read_text() == "pre" and not (run / "linked").is_symlink()
    os.link(precious, run / "hard")
    disk.cut(run / "hard", 3)
    assert (run / "hard").read_text() == "pre"


@pytest.mark.timeout(20)
def test_what_is_no_file_is_named_and_not_waited_for(run):
    os.mkfifo(run / "fifo")
    (run / "device").symlink_to("/dev/zero")
    (run / "link").symlink_to(run / "fifo")
    for name, kind in (("fifo", "a FIFO"), ("device", "a device"), ("link", "a FIFO"), ("", "a folder")):
        with pytest.raises(PoolsearchError, match=f"is {kind}, not a regular file"), disk.open_regular(run / name):
            pass


def test_a_link_to_a_file_may_be_read(run, precious):
    (run / "link").symlink_to(precious)
    with disk.open_regular(run / "link") as handle:
        assert handle.read() == b"precious"
