"""Trials by several processes: who does what, in which order, and what becomes of errors and dead workers."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress, Update
from poolsearch.workers.pool import plan_workers, run_trials

# Workers find what they do by its name, so it cannot stand in this file, which pytest imports under a name of its own
JOBS = """
import os, sys, time
from pathlib import Path
from poolsearch.errors import Interrupted, PoolsearchError
from poolsearch.workers.signals import stop_requests

def who(trial, progress):
    return trial, os.getpid()

def threads(trial, progress):
    import torch
    return torch.get_num_threads()

def card(trial, progress):
    return os.getpid(), os.environ["CUDA_VISIBLE_DEVICES"]

def log(trial, progress):
    folder, number = trial
    with open(f"{folder}/log", "a") as handle:
        handle.write(f"{os.getpid()} {number}\\n")

def talk(trial, progress):
    print("printed by the trial")
    progress.say(f"trial {trial}")
    with progress.bar(f"bar {trial}", 4) as update:
        for done in range(1, 5):
            time.sleep(0.25)
            update(done, "note")

def shared(trial, progress):
    from poolsearch.storage.locks import try_lock
    from poolsearch.workers.queue import Busy
    folder, name = trial
    with try_lock(Path(folder, name)) as ours:
        if not ours: return Busy()
        found = Path(folder, name, "found")
        if not found.exists():
            time.sleep(0.1)
            found.write_text(str(os.getpid()))
            with open(f"{folder}/log", "a") as handle: handle.write(f"{name}\\n")
        return name, int(found.read_text())

def telling(trial, progress):
    for part in range(3): progress.tell((trial, part))

def tells_until_stopped(folder, progress):
    with stop_requests() as stopped:
        progress.tell(folder)
        while not stopped(): time.sleep(0.01)
    Path(folder, "saved").touch()
    raise Interrupted

class Odd(Exception):
    def __init__(self, a, b):
        super().__init__(f"{a} and {b}")

def wrong(kind, progress):
    if kind == "user": raise PoolsearchError("the message")
    if kind == "disk": raise OSError(28, "No space left on device", "a/file")
    if kind == "odd": raise Odd("one", "two")
    if kind == "result": return lambda: None
    raise ZeroDivisionError("a bug")

def until_stopped_or_wrong(trial, progress):
    folder, name = trial
    begun = Path(folder, "begun")
    if name in ("wrong", "short"):
        while not begun.exists(): time.sleep(0.01)
        if name == "wrong": raise PoolsearchError("one is wrong")
        return name
    with stop_requests() as stopped:
        begun.touch()
        while not stopped(): time.sleep(0.01)
    Path(folder, "saved").touch()
    raise Interrupted

class Die:
    def __init__(self, folder, how): self.folder, self.how = folder, how
    def __call__(self, trial, progress):
        if trial == "bad": os.kill(os.getpid(), 9) if self.how == "kill" else os._exit(3)
        time.sleep(0.3)
        Path(self.folder, trial).touch()
"""


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The functions above, in a module that only this process's path leads to."""
    (tmp_path / "jobs_of_test.py").write_text(JOBS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "jobs_of_test", raising=False)
    return __import__("jobs_of_test")


def run(work: Any, trials: list[Any], costs: list[float] | None = None, **options: Any) -> list[Any]:
    return run_trials(work, trials, costs or [1.0] * len(trials), SilentProgress(), "test", **options)


def test_one_worker_is_this_process(jobs: ModuleType) -> None:
    assert run(jobs.who, ["a", "b"]) == [("a", os.getpid()), ("b", os.getpid())]


def test_results_come_in_the_order_of_the_trials_and_every_worker_works(jobs: ModuleType) -> None:
    results = run(jobs.who, list("abcdef"), [1, 6, 2, 5, 3, 4], workers=2)
    assert [trial for trial, _ in results] == list("abcdef")
    processes = {process for _, process in results}
    assert len(processes) == 2 and os.getpid() not in processes


@pytest.mark.parametrize("workers", [1, 2])
def test_each_result_is_told_here_as_it_comes(jobs: ModuleType, workers: int) -> None:
    told: list[tuple[str, tuple[str, int]]] = []
    results = run(jobs.who, list("abc"), workers=workers, done=lambda trial, found: told.append((trial, found)))
    assert sorted(told) == list(zip("abc", results, strict=True))
    if workers == 1:
        assert [trial for trial, _ in told] == list("abc")


@pytest.mark.parametrize("workers", [1, 2])
def test_what_trials_tell_arrives_here_in_their_order(jobs: ModuleType, workers: int) -> None:
    told: list[tuple[str, int]] = []
    run(jobs.telling, list("ab"), workers=workers, told=told.append)
    assert {name: [part for of, part in told if of == name] for name in "ab"} == {"a": [0, 1, 2], "b": [0, 1, 2]}


def test_when_what_is_told_raises_here_all_save_and_stop(jobs: ModuleType, tmp_path: Path) -> None:
    folders = [tmp_path / "a", tmp_path / "b"]
    for folder in folders:
        folder.mkdir()
    told: list[str] = []

    def raises_when_both_are_told(folder: str) -> None:
        told.append(folder)
        if len(told) == 2:
            raise KeyError("of the user's own")

    with pytest.raises(KeyError, match="of the user's own"):
        run(jobs.tells_until_stopped, list(map(str, folders)), workers=2, told=raises_when_both_are_told)
    assert all((folder / "saved").exists() for folder in folders)


def test_no_more_workers_than_trials(jobs: ModuleType) -> None:
    assert len({process for _, process in run(jobs.who, ["a", "b"], workers=5)}) == 2
    assert run(jobs.who, [], workers=5) == run(jobs.who, []) == []


def test_a_single_trial_of_several_workers_has_a_process_with_their_threads(jobs: ModuleType) -> None:
    # a run that is resumed with one trial left must give the bits that it would have given
    assert run(jobs.threads, ["a"], workers=2, threads=3) == [3]


def test_the_most_costly_trials_are_handed_out_first(jobs: ModuleType, tmp_path: Path) -> None:
    costs = [3, 7, 1, 8, 2, 6, 5, 4]
    run(jobs.log, [(str(tmp_path), cost) for cost in costs], costs, workers=2)
    by_process: dict[str, list[int]] = {}
    for line in (tmp_path / "log").read_text().splitlines():
        process, cost = line.split()
        by_process.setdefault(process, []).append(int(cost))
    assert {done[0] for done in by_process.values()} == {7, 8}
    assert all(done == sorted(done, reverse=True) for done in by_process.values())
    assert sorted(cost for done in by_process.values() for cost in done) == sorted(costs)


def test_one_worker_keeps_the_order_of_the_trials(jobs: ModuleType, tmp_path: Path) -> None:
    run(jobs.log, [(str(tmp_path), cost) for cost in (2, 3, 1)], [2, 3, 1])
    assert [line.split()[1] for line in (tmp_path / "log").read_text().splitlines()] == ["2", "3", "1"]


def test_cards_are_dealt_to_the_workers_in_turn(jobs: ModuleType) -> None:
    found = run(jobs.card, [0, 1, 2], workers=3, cards=["5", "GPU-a"])
    assert Counter(card for _, card in found) == {"5": 2, "GPU-a": 1}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_of_a_trial_keeps_its_kind_and_message(jobs: ModuleType, workers: int) -> None:
    with pytest.raises(PoolsearchError, match=r"^the message$"):
        run(jobs.wrong, ["user"], workers=workers)
    with pytest.raises(OSError, match="No space left") as full:
        run(jobs.wrong, ["disk"], workers=workers)
    assert (full.value.errno, full.value.filename) == (errno.ENOSPC, "a/file")
    with pytest.raises(ZeroDivisionError, match="a bug"):
        run(jobs.wrong, ["bug"], workers=workers)


def test_a_bug_in_a_worker_keeps_its_traceback(jobs: ModuleType) -> None:
    with pytest.raises(ZeroDivisionError) as bug:
        run(jobs.wrong, ["bug"], workers=2)
    assert 'jobs_of_test.py", line' in str(bug.value.__cause__)
    assert "in wrong" in str(bug.value.__cause__)


def test_errors_and_results_that_cannot_be_sent_are_told_all_the_same(jobs: ModuleType) -> None:
    with pytest.raises(RuntimeError, match="Odd: one and two"):
        run(jobs.wrong, ["odd"], workers=2)
    with pytest.raises(Exception, match=r"[Pp]ickle|lambda"):
        run(jobs.wrong, ["result"], workers=2)


def test_when_a_trial_raises_the_others_save_and_stop(jobs: ModuleType, tmp_path: Path) -> None:
    trials = [(str(tmp_path), "long"), (str(tmp_path), "wrong")]
    with pytest.raises(PoolsearchError, match="one is wrong"):
        run(jobs.until_stopped_or_wrong, trials, workers=2)
    assert (tmp_path / "saved").exists()


def test_when_what_is_told_of_results_raises_the_others_save_and_stop(jobs: ModuleType, tmp_path: Path) -> None:
    def done(trial: Any, result: str) -> None:
        raise PoolsearchError(f"{result} diverged")

    with pytest.raises(PoolsearchError, match="short diverged"):
        run(jobs.until_stopped_or_wrong, [(str(tmp_path), "long"), (str(tmp_path), "short")], workers=2, done=done)
    assert (tmp_path / "saved").exists()


@pytest.mark.parametrize(("how", "said"), [("kill", "was killed by SIGKILL"), ("exit", "ended with status 3")])
def test_a_dead_worker_is_named_and_the_others_do_the_rest(
    jobs: ModuleType, tmp_path: Path, how: str, said: str
) -> None:
    trials = ["a", "bad", "b", "c"]
    with pytest.raises(PoolsearchError, match=rf"^1 of 4 trials are not finished: worker \d \(process \d+\) {said} "
                       r"during bad\. .*start again"):  # fmt: skip
        run(jobs.Die(str(tmp_path), how), trials, [1, 9, 1, 1], workers=2)
    assert {"a", "b", "c"} <= {path.name for path in tmp_path.iterdir()}


def test_when_all_workers_are_dead_it_ends(jobs: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"^3 of 3 trials are not finished: .* during bad; .* during bad\. "):
        run(jobs.Die(str(tmp_path), "kill"), ["bad", "bad", "a"], [2, 2, 1], workers=2)


SHARING = """
import sys, jobs_of_test
from poolsearch.workers.pool import run_trials
from poolsearch.progress import SilentProgress
trials = [(sys.argv[1], name) for name in "abcdefgh"]
print("begins", flush=True)
print(run_trials(jobs_of_test.shared, trials, [1] * 8, SilentProgress(), "test"))
"""
HOLDING = """
import sys, time
from pathlib import Path
from poolsearch.storage.locks import try_lock
with try_lock(Path(sys.argv[1])):
    print("begins", flush=True)
    time.sleep(1000)
"""


def other(code: str, folder: Path) -> subprocess.Popen[str]:
    """A process that has begun."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, env=environment, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "begins\n"
    return process


@pytest.mark.parametrize("workers", [1, 2])
def test_two_executors_share_trials_and_have_the_same_results(jobs: ModuleType, tmp_path: Path, workers: int) -> None:
    process = other(SHARING, tmp_path)
    found = run(jobs.shared, [(str(tmp_path), name) for name in "abcdefgh"], workers=workers)
    said, _ = process.communicate(timeout=60)
    assert said == f"{found}\n" and [name for name, _ in found] == list("abcdefgh")
    assert sorted((tmp_path / "log").read_text().split()) == list("abcdefgh"), "each was done once"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_busy_trial_is_taken_when_its_holder_was_killed(jobs: ModuleType, tmp_path: Path, workers: int) -> None:
    holder = other(HOLDING, tmp_path / "b")
    ended: list[str] = []

    def done(trial: Any, result: tuple[str, int]) -> None:
        ended.append(result[0])
        if len(ended) == 2:
            holder.kill()
            holder.wait()

    found = run(jobs.shared, [(str(tmp_path), name) for name in "abc"], workers=workers, done=done)
    assert [name for name, _ in found] == list("abc")
    assert ended[-1] == "b" and (tmp_path / "log").read_text().split()[-1] == "b"


class Recorder:
    """A progress that keeps what it was told."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.open: list[str] = []
        self.moves: dict[str, list[tuple[float, str]]] = {}

    def say(self, text: str) -> None:
        self.said.append(text)

    @contextmanager
    def bar(self, label: str, total: int) -> Generator[Update]:
        self.open.append(label)
        self.moves[f"{label} of {total}"] = moves = []
        yield lambda done, note: moves.append((done, note))
        self.open.remove(label)


@pytest.mark.parametrize("workers", [1, 2])
def test_all_is_shown_in_one_place(jobs: ModuleType, workers: int) -> None:
    shown = Recorder()
    run_trials(jobs.talk, [0, 1], [1, 3], shown, "whole", workers=workers)
    assert sorted(shown.said) == ["trial 0", "trial 1"]
    assert shown.open == []
    assert shown.moves.keys() == {"whole of 100", "bar 0 of 4", "bar 1 of 4"}
    assert shown.moves["bar 1 of 4"][-1] == (4, "note")
    whole = [done for done, _ in shown.moves["whole of 100"]]
    assert whole == sorted(whole)
    if workers == 1:  # the second trial is three quarters of the work
        assert whole == [6.25, 12.5, 18.75, 25, 25, 43.75, 62.5, 81.25, 100, 100]
    assert shown.moves["whole of 100"][-1] == (100, "2 of 2 finished")


def test_a_script_without_a_main_guard_runs_once(jobs: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "print('script runs', flush=True)\n"
        "import jobs_of_test\nfrom poolsearch.workers.pool import run_trials\n"
        "from poolsearch.progress import SilentProgress\n"
        "found = run_trials(jobs_of_test.who, [1, 2], [1, 1], SilentProgress(), 'test', workers=2)\n"
        "print([trial for trial, _ in found])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "script runs\n[1, 2]\n", "")


def test_work_that_stands_in_the_script_itself_is_explained(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "from poolsearch.workers.pool import run_trials\nfrom poolsearch.progress import SilentProgress\n"
        "def work(trial, progress): pass\n"
        "try: run_trials(work, [1, 2], [1, 1], SilentProgress(), 'test', workers=2)\n"
        "except ValueError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=True, timeout=60)
    assert "workers do not run your script. Put the function and the trials' class into a module" in done.stdout


def test_what_a_trial_prints_stays_out_of_the_results(jobs: ModuleType, capfd: pytest.CaptureFixture[str]) -> None:
    run(jobs.talk, [0, 1], workers=2)
    printed = capfd.readouterr()
    assert printed.out == ""
    assert printed.err.count("printed by the trial") == 2


def test_workers_end_when_their_parent_is_killed(jobs: ModuleType, tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import jobs_of_test\nfrom poolsearch.workers.pool import run_trials\n"
        "from poolsearch.progress import SilentProgress\n"
        f"trials = [({str(tmp_path)!r}, i) for i in range(2)]\n"
        "run_trials(jobs_of_test.until_stopped_or_wrong, trials, [1, 1], SilentProgress(), 'test', workers=2)\n"
    )
    parent = subprocess.Popen([sys.executable, script], stderr=subprocess.PIPE)
    end = time.monotonic() + 60
    while not (tmp_path / "begun").exists():
        assert time.monotonic() < end and parent.poll() is None
        time.sleep(0.02)
    parent.kill()
    # the workers have the other end of this pipe too: it is at its end only when all of them are gone
    _, said = parent.communicate(timeout=20)
    assert said == b""
    assert not (tmp_path / "saved").exists()


@pytest.mark.parametrize(
    ("asked", "trials", "threads", "cards", "small", "expected"),
    [
        (None, 12, 2, 0, True, (2, 1)),  # one process per core
        (None, 12, 1, 0, True, (1, 1)),
        (None, 3, 8, 0, True, (3, 2)),  # fewer trials than cores: they share them
        (None, 1, 8, 0, True, (1, 8)),
        (None, 12, 8, 0, False, (1, 8)),  # large images, or no CPU
        (None, 12, 16, 1, False, (1, 16)),
        (None, 12, 16, 4, False, (4, 4)),  # one per card
        (3, 12, 16, 1, False, (3, 5)),  # several on one card
        (4, 12, 2, 0, True, (4, 1)),
        (1, 12, 2, 0, True, (1, 2)),
        (4, 2, 2, 0, False, (2, 1)),
    ],
)
def test_the_plan(
    asked: int | None, trials: int, threads: int, cards: int, small: bool, expected: tuple[int, int]
) -> None:
    assert plan_workers(asked, trials, threads, cards, small) == expected
