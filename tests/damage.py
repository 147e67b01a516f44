"""Damage to the files of a run folder, and what commands make of it.

By itself it counts outcomes: ``python tests/damage.py COUNTS.json`` damages every file in every way.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, cycle, product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from safetensors import safe_open
from safetensors.numpy import load_file, save_file

TRACEBACK = 99  # exit code of a command that raised
SECONDS = 60  # none of these commands takes so long, on whatever machine
FEW = {"top_k": 1, "subset": 400, "placements": ("4,3,3", "5,3,2", "6,2,2", "2,4,4"), "batch": 64, "val_batch": 64}
"""Settings by which a run has every file, and little to compute."""

ACCEPTED = ("refused", "rebuilt", "identical")
"""Outcomes that are right: refused by the file's name, made again, or the answers are those of the whole run."""


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _flipped(data: bytes) -> bytes:
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


def _zeroed(data: bytes) -> bytes:
    start = max(0, len(data) // 2 - 512)
    return data[:start] + b"\0" * min(1024, len(data) - start) + data[start + 1024 :]


BYTES: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "halved": _half,
    "bit flipped": _flipped,
    "1 kB zeroed": _zeroed,
    "{}": lambda _: b"{}\n",
    "a list": lambda _: b"[1, 2]\n",
    "not UTF-8": lambda data: b"\xff\xfe\x80 " + data,
    "nested": lambda _: b"[" * 200_000,
    "huge number": lambda _: b'{"images": ' + b"9" * 5000 + b"}",
}
KINDS = {
    "emptied": ("emptied",),
    "halved": ("halved",),
    "bit flipped": ("bit flipped",),
    "1 kB zeroed": ("1 kB zeroed",),
    "other content": ("{}", "a list", "not UTF-8", "nested", "huge number"),
    "value changed": ("value changed", "row deleted"),
    "other file": ("swapped", "link", "FIFO"),
}
"""The seven kinds of damage, and the damages of each."""
FIRST = ("emptied", "halved", "bit flipped", "1 kB zeroed", "{}", "value changed", "swapped")
"""One of each kind."""


def _changed_json(value: object) -> bool:
    """Change the first number that is found, in depth."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in list(items):
        if isinstance(item, (int, float)) and not isinstance(item, bool):
            value[key] = item + 1  # type: ignore[index]
            return True
        if _changed_json(item):
            return True
    return False


def change_value(path: Path) -> bool:
    """Change one value, so that the file is as well-formed as before; gives whether there is a way to."""
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        if not _changed_json(value):
            return False
        path.write_text(json.dumps(value, indent=1) + "\n")
    elif path.suffix == ".csv":
        lines = path.read_text().splitlines()
        last = lines[-1].split(",")
        column = next((c for c in reversed(range(len(last))) if last[c].replace(".", "").isdigit()), None)
        if column is None:
            return False
        rows = list(csv.reader(io.StringIO(path.read_text())))
        place = next(c for c in reversed(range(len(rows[-1]))) if rows[-1][c].replace(".", "").isdigit())
        rows[-1][place] += "1"
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        path.write_text(text.getvalue())
    elif path.suffix == ".parquet":
        table = pq.read_table(path)
        place = next(i for i, name in enumerate(table.column_names) if str(table[name].type) in ("int64", "float"))
        column = table.column(place).to_numpy().copy()
        column[0] += 1
        pq.write_table(table.set_column(place, table.field(place), [column]), path)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="np") as handle:
            about = handle.metadata()
        tensors = load_file(path)
        name = next(n for n, t in sorted(tensors.items()) if t.size and t.dtype.kind == "f")
        tensors[name].flat[0] += 1
        save_file(tensors, path, metadata=about)
    elif path.suffix == ".npy":
        array = np.load(path)
        array[0] = (int(array[0]) + 1) % 10
        np.save(path, array)
    elif path.suffix == ".jsonl":
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        _changed_json(lines[0])
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    else:
        path.write_bytes(path.read_bytes() + b"\n")
    return True


def delete_row(path: Path) -> bool:
    """Delete a row, or a key; gives whether there is a way to."""
    if path.suffix == ".json":
        value = json.loads(path.read_text())
        if not value:
            return False
        value.pop(0 if isinstance(value, list) else next(iter(value)))
        path.write_text(json.dumps(value, indent=1) + "\n")
    elif path.suffix in (".csv", ".jsonl"):
        lines = path.read_text().splitlines(keepends=True)
        first = 1 if path.suffix == ".csv" else 0
        path.write_text("".join(lines[:first] + lines[first + 1 :]))
    elif path.suffix == ".parquet":
        pq.write_table(pq.read_table(path).slice(1), path)
    elif path.suffix == ".safetensors":
        with safe_open(path, framework="np") as handle:
            about = handle.metadata()
        tensors = load_file(path)
        del tensors[next(iter(tensors))]
        save_file(tensors, path, metadata=about)
    elif path.suffix == ".npy":
        np.save(path, np.load(path)[1:])
    else:
        return False
    return True


def damage(run: Path, name: str, what: str) -> bool:
    """Damage a file of the run; gives whether there is a way to do it to this one."""
    path, aside = run / name, run.parent / "aside"
    if what in BYTES:
        before = path.read_bytes()
        path.write_bytes(BYTES[what](before))
        return path.read_bytes() != before
    if what == "value changed":
        return change_value(path)
    if what == "row deleted":
        return delete_row(path)
    if what == "swapped":
        others = sorted(p for p in run.rglob(f"*{path.suffix}") if p.is_file() and p.read_bytes() != path.read_bytes())
        alike = [p for p in others if p.name == path.name] or others
        if not alike:
            return False
        shutil.copy(alike[0], path)
        return True
    path.replace(aside)
    if what == "link":
        path.symlink_to(aside)
    else:
        os.mkfifo(path)
    return True


@dataclass(frozen=True)
class Action:
    """A command on a run folder, and the files that are its answer; of JSON files the keys ``but`` do not count."""

    name: str
    words: tuple[str, ...]
    answers: tuple[str, ...]
    prepare: Callable[[Path], None] = lambda _: None


def _list(path: Path, digest: str | None) -> None:
    sums = path.parent / "SHA256SUMS"
    if sums.is_file():
        lines = [line for line in sums.read_text().splitlines() if not line.endswith(f"  {path.name}")]
        sums.write_text("".join(f"{line}\n" for line in (*lines, *([f"{digest}  {path.name}"] if digest else []))))


def remove(run: Path, *names: str) -> None:
    """Remove files of a run as if they had never been written."""
    for name in names:
        (run / name).unlink(missing_ok=True)
        _list(run / name, None)


def rewrite(path: Path, text: str) -> None:
    """Write a file as the run would."""
    path.write_text(text)
    _list(path, hashlib.sha256(text.encode()).hexdigest())


def close_test(run: Path) -> None:
    """Make a run as if it had been stopped before the test split was opened."""
    record = json.loads((run / "run.json").read_text())
    for stage in record["stages"]:
        stage["ended"] = None if stage["stage"] == "retrain" else stage["ended"]
    rewrite(run / "run.json", json.dumps(record, indent=1) + "\n")
    remove(run, "test.json")


AGAIN = Action("retrain again", ("retrain",), ("test.json",))
"""Of a run that has its verdict: it is looked at and left as it is."""

ACTIONS = (
    Action("report", ("report",), ("report.html",)),
    Action("rank", ("rank",), ("ranking.csv",)),
    Action("retrain", ("retrain",), ("test.json",), close_test),
    AGAIN,
    Action("export", ("export",), ("export/model.safetensors", "export/model.py", "export/export.json")),
    Action("resume", ("run", "--resume"), ("ranking.csv", "test.json")),
)
_NOT_COMPARED = {"opened", "seconds", "started", "ended"}


def answer(path: Path) -> object:
    """What counts of a file: of JSON all but times."""
    if not path.is_file():
        return None
    if path.suffix != ".json":
        return path.read_bytes()
    try:
        value = json.loads(path.read_text())
    except (ValueError, RecursionError):
        return path.read_bytes()
    return {k: v for k, v in value.items() if k not in _NOT_COMPARED} if isinstance(value, dict) else value


def import_all() -> None:
    """Import what commands import late, and leave out what takes time and reads nothing of a run."""
    import sklearn.datasets  # noqa: F401
    import torch._dynamo  # noqa: F401

    import poolsearch.cli.dispatch
    import poolsearch.pipeline  # noqa: F401
    import poolsearch.reports.figures.all_figures as plots
    import poolsearch.stages.export as export
    import poolsearch.stages.rank as rank
    from poolsearch.exporting.check import ExportCheck, OutputDifference

    def no_saving(*_: object) -> dict[str, float]:
        return dict.fromkeys(("seconds_tree", "seconds_one_by_one", "measured_saving", "largest_logit_difference"), 1.0)

    def same(*_: object) -> ExportCheck:
        return ExportCheck(OutputDifference(0.0, 0.0), OutputDifference(0.0, 0.0), None)

    plots.figures = lambda *_: []
    rank._measure_saving = no_saving
    export.run_exported = same
    export.missing_packages = lambda: ["onnx"]


def run_command(words: Sequence[str], said: Path) -> int | None:
    """The exit code of ``poolsearch`` in a process of its own; None where it does not end. A file has what it says."""
    from poolsearch.cli.main import main

    child = os.fork()
    if child == 0:
        code = TRACEBACK
        try:
            handle = os.open(said, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(handle, 1)
            os.dup2(handle, 2)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            code = main([*map(str, words)])
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
    end = time.monotonic() + SECONDS
    while time.monotonic() < end:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


@dataclass(frozen=True)
class Case:
    """A damage to a file, then a command."""

    file: str
    damage: str
    action: Action

    def __str__(self) -> str:
        return f"{self.file}, {self.damage}, {self.action.name}"


class Matrix:
    """Cases on copies of one finished run.

    Args:
        whole: the run folder; it is left as it is.
        place: where copies lie, each at the same path, as a page has the name of its run.
    """

    def __init__(self, whole: Path, place: Path) -> None:
        self.whole, self.run, self.said = whole, place / "run", place / "said"
        self._place = place
        self._expected: dict[str, dict[str, object]] = {}

    @property
    def files(self) -> list[str]:
        """Every file of the run."""
        found = (path for path in sorted(self.whole.rglob("*")) if path.is_file() and path.name != ".lock")
        return [str(path.relative_to(self.whole)) for path in found]

    def outcome(self, case: Case) -> str | None:
        """What came of a case; None where there is no such damage to this file, or the action needs none of it."""
        action = case.action
        if not self._expected:
            self._warm()
        if action.name not in self._expected:
            self._copy(action)
            code = self._do(action)
            assert code == 0, self.said.read_text()
            self._expected[action.name] = {name: answer(self.run / name) for name in action.answers}
            self._copy(action)
            assert self._do(action) == 0
            assert self._expected[action.name] == {name: answer(self.run / name) for name in action.answers}
        self._copy(action)
        if not os.path.lexists(self.run / case.file) or not damage(self.run, case.file, case.damage):
            return None
        code = self._do(action)
        said = self.said.read_text(errors="replace")
        if code is None:
            return "hangs"
        if code not in (0, 2):
            return "traceback" if code == TRACEBACK else f"exit code {code}"
        if code == 2:
            return "refused" if Path(case.file).name in said.replace("\n", "") else "refused without its name"
        found = {name: answer(self.run / name) for name in action.answers}
        if found != self._expected[action.name]:
            return "another answer"
        now, before = self.run / case.file, self.whole / case.file
        return "rebuilt" if not now.is_symlink() and answer(now) == answer(before) else "identical"

    @property
    def last_line(self) -> str:
        """The last that the last command said."""
        return next(iter(self.said.read_text(errors="replace").strip().splitlines()[-1:]), "")[-150:]

    def _warm(self) -> None:
        """What the first page and the first ranking of a process make is there for all copies of it."""
        from poolsearch import pipeline

        for action, work in ((ACTIONS[0], pipeline.report), (ACTIONS[1], pipeline.rank)):
            self._copy(action)
            work(self.run)

    def _copy(self, action: Action) -> None:
        shutil.rmtree(self._place, ignore_errors=True)
        self._place.mkdir(parents=True)
        shutil.copytree(self.whole, self.run)
        action.prepare(self.run)

    def _do(self, action: Action) -> int | None:
        return run_command([*action.words, "--out", str(self.run), "--quiet"], self.said)


def cases(files: Sequence[str], damages: Sequence[str] = tuple(chain(*KINDS.values()))) -> Iterator[Case]:
    """Every file, damage and action."""
    for file, what, action in product(files, damages, ACTIONS):
        if file == "test.json" or action is not AGAIN:
            yield Case(file, what, action)


def representatives(files: Sequence[str]) -> list[str]:
    """One of each kind of file: a picture stands for all, and a training for all others."""
    found: dict[str, str] = {}
    for name in files:
        parts = Path(name).parts
        alike = {"figures": f"*{Path(name).suffix}", "retrain": parts[-1], "sweep": parts[-1]}
        found.setdefault(f"{parts[0]}/{alike[parts[0]]}" if parts[0] in alike else name, name)
    return list(found.values())


def make_run(out: Path, words: Sequence[str]) -> None:
    """A finished run with what was exported."""
    said = out.parent / "said"
    for command in (["run", *words], ["export"]):
        code = run_command([*command, "--out", str(out), "--quiet"], said)
        assert code == 0, said.read_text()


def sample(files: Sequence[str]) -> Iterator[Case]:
    """Every file once, the kinds of damage in turn."""
    for file, what in zip(files, cycle(FIRST)):
        yield from cases([file], [what])


def forget_digests(run: Path) -> None:
    """Make a run as those were that kept no digests."""
    for sums in run.rglob("SHA256SUMS"):
        sums.unlink()
    record = json.loads((run / "run.json").read_text())
    record.pop("digests", None)
    (run / "run.json").write_text(json.dumps(record, indent=1) + "\n")


def main() -> None:
    """Count what comes of every case, and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=Path)
    parser.add_argument("--of", choices=("all", "first", "sample"), default="all", help="all damages, one of each kind")
    parser.add_argument("--method", default="mixture")
    parser.add_argument("--no-digests", action="store_true", help="as runs of before there were any")
    asked = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parent))
    from conftest import TINY

    import_all()
    settings = TINY | FEW | {"method": asked.method}
    if asked.method != "mixture":
        settings = {name: v for name, v in settings.items() if name not in ("members", "epochs", "val_batch")}
        settings["sweep_epochs"] = 1
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in settings.items()}
    words = [w for name, several in values.items() for w in (f"--{name.replace('_', '-')}", *map(str, several))]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_CACHE_HOME"] = f"{folder}/cache"
        whole = Path(folder) / "whole"
        make_run(whole, words)
        if asked.no_digests:
            forget_digests(whole)
        matrix = Matrix(whole, Path(folder) / "copy")
        files, found = representatives(matrix.files), dict[str, str]()
        chosen = sample(files) if asked.of == "sample" else cases(files, *([FIRST] if asked.of == "first" else []))
        for case in chosen:
            outcome = matrix.outcome(case)
            if outcome is not None:
                found[str(case)] = outcome
                if outcome not in ACCEPTED:
                    print(f"{case}: {outcome}: {matrix.last_line}", flush=True)
        print(f"{len(found)} cases", dict(Counter(found.values())))
        asked.counts.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
