"""Decoding in processes: the same bytes, and nothing left behind whatever ends it."""

from __future__ import annotations

import errno
import io
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from poolsearch.data import build, find_source, open_images
from poolsearch.data import processes as processes_module
from poolsearch.data.processes import DecoderPool, DecoderProcess
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress
from process_table import runs

SIDE = 12


def encoded(mode: str, kind: str, number: int, side: int = SIDE, **options: Any) -> bytes:
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 4), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels, "RGBA").convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


KINDS: dict[str, Callable[[int], bytes]] = {
    "jpeg": lambda number: encoded("RGB", "JPEG", number),
    "grey": lambda number: encoded("L", "PNG", number),
    "transparent": lambda number: encoded("RGBA", "PNG", number),
    "turned": lambda number: encoded("RGB", "JPEG", number, exif=turned()),
    "16 bits": lambda number: encoded("I;16", "TIFF", number) if number % 2 else encoded("I;16", "PNG", number),
    "empty": lambda _: b"",
    "nonsense": lambda number: bytes([number % 256]) * 50,
    "cut off": lambda number: encoded("RGB", "PNG", number)[:150],
}
DAMAGED = ("empty", "nonsense", "cut off")


class Started(DecoderPool):
    """Decodes nothing before every process is there, so that the processes do all of it."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        until(lambda: self._idle.qsize() == number)


def until(holds: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.005)


@pytest.fixture
def in_processes(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Take so many processes for however few images, in the least batches."""

    def use(number: int) -> None:
        monkeypatch.setattr(build, "available_cores", lambda: number)
        monkeypatch.setattr(build, "WORTH_A_PROCESS", 1)
        monkeypatch.setattr(build, "BATCH_BYTES", 1)
        monkeypatch.setattr(build, "DecoderPool", Started)

    return use


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kinds=st.lists(st.sampled_from(sorted(KINDS)), min_size=10, max_size=60), workers=st.integers(2, 4))
def test_the_same_bytes_and_the_same_left_out_whatever_the_number_of_processes(
    kinds: list[str], workers: int, tmp_path_factory: pytest.TempPathFactory, in_processes: Callable[[int], None]
) -> None:
    root = tmp_path_factory.mktemp("images")
    for name in ("cat", "dog"):
        (root / name).mkdir()
        for number, kind in enumerate(["jpeg"] * 4 + kinds):
            (root / name / f"{number:03}.jpg").write_bytes(KINDS[kind](number))
    source = find_source(str(root))
    in_processes(1)
    alone = open_images(source, None, root / "one", SilentProgress())
    in_processes(workers)
    together = open_images(source, None, root / "many", SilentProgress())
    assert together.fingerprint == alone.fingerprint and together.skipped == alone.skipped
    np.testing.assert_array_equal(together.pixels_NHWC, alone.pixels_NHWC)
    assert len(alone.skipped) == 2 * sum(kind in DAMAGED for kind in kinds)


def test_parquet_cells_go_to_processes_too(tmp_path: Path, in_processes: Callable[[int], None]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    cells: list[bytes | None] = [encoded("RGB", "PNG", number) for number in range(40)]
    expected = [np.asarray(Image.open(io.BytesIO(cell))) for cell in cells if cell]
    cells[17] = None
    (tmp_path / "data").mkdir()
    table = pa.table({"image": pa.array(cells, pa.binary()), "label": [0, 1] * 20})
    pq.write_table(table, tmp_path / "data" / "train-0.parquet", row_group_size=7)
    in_processes(3)
    images = open_images(find_source(str(tmp_path / "data")), None, tmp_path / "cache", SilentProgress())
    np.testing.assert_array_equal(images.pixels_NHWC, np.stack(expected[:17] + expected[18:]))
    assert images.skipped == [{"file": "train-0.parquet row 17", "reason": "damaged or unreadable: the cell is empty"}]


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("at", [1, 39, 79])
def test_another_size_anywhere_begins_anew_at_the_large_side(
    write_folder: Any, tmp_path: Path, in_processes: Callable[[int], None], workers: int, at: int
) -> None:
    root = write_folder(count=40)
    other = sorted(root.rglob("*.png"))[at]
    Image.new("RGB", (SIDE, SIDE + 1), "white").save(other)
    in_processes(workers)
    source = find_source(str(root))
    images = open_images(source, None, tmp_path / "cache", SilentProgress())
    assert images.pixels_NHWC.shape == (80, 256, 256, 3) and images.pixels_NHWC[at].min() == 255
    assert images.fingerprint == open_images(source, 256, tmp_path / "cache", SilentProgress()).fingerprint


def test_a_limit_on_pixels_holds_in_processes(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_processes: Callable[[int], None]
) -> None:
    root = write_folder(count=20)
    Image.new("RGB", (40, 40)).save(root / "cat" / "002.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 700)  # twice as much is an error
    in_processes(2)
    images = open_images(find_source(str(root)), SIDE, tmp_path / "cache", SilentProgress())
    assert [entry["file"] for entry in images.skipped] == ["cat/002.png"]


def test_system_errors_are_said_in_processes_too(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_processes: Callable[[int], None]
) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(
        DecoderProcess, "decode", lambda _, raws, *__: [None] * len(raws)
    )  # as when it cannot open them
    monkeypatch.setattr(build, "decode", fail)
    in_processes(2)
    with pytest.raises(PoolsearchError, match=r"cat/000\.png could not be read now"):
        open_images(find_source(str(write_folder(count=40))), None, tmp_path / "cache", SilentProgress())


# --- processes that end ----------------------------------------------------------------------------------------------


def test_until_processes_have_started_and_where_none_can_all_is_done_here(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_processes: Callable[[int], None]
) -> None:
    source = find_source(str(write_folder(count=40)))
    in_processes(3)
    expected = open_images(source, None, tmp_path / "a", SilentProgress()).fingerprint
    monkeypatch.setattr(build, "DecoderPool", DecoderPool)
    for python in ("/nowhere/python", "/bin/true", ""):
        monkeypatch.setattr(processes_module.sys, "executable", python)
        assert open_images(source, None, tmp_path / f"b{len(python)}", SilentProgress()).fingerprint == expected


def test_a_killed_process_is_said_and_leaves_nothing(
    write_folder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, in_processes: Callable[[int], None]
) -> None:
    started: list[int] = []
    decode = DecoderProcess.decode

    def killed_at_the_fourth_job(worker: DecoderProcess, *job: Any) -> Any:
        started.append(worker._process.pid)
        if len(started) == 4:
            os.kill(worker._process.pid, signal.SIGKILL)
        return decode(worker, *job)

    monkeypatch.setattr(DecoderProcess, "decode", killed_at_the_fourth_job)
    in_processes(2)
    source = find_source(str(write_folder(count=100)))
    with pytest.raises(PoolsearchError, match=r"a process that decodes images was ended by SIGKILL.*memory"):
        open_images(source, None, tmp_path / "cache", SilentProgress())
    assert not [path for path in (tmp_path / "cache").glob("images-*/*") if not path.name.endswith(".lock")]
    assert len(set(started)) == 2 and not any(runs(process) for process in started)


SLOW = """
    import os, signal, sys, time
    from pathlib import Path
    from poolsearch.data import build, find_source, open_images
    from poolsearch.data.processes import DecoderProcess

    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits that it is ignored
    from poolsearch.progress import SilentProgress

    def slow(worker, *job):
        os.write(1, f"{worker._process.pid}\\n".encode())  # in one piece: two threads come here at once
        time.sleep(0.1)
        return decode(worker, *job)

    decode, DecoderProcess.decode = DecoderProcess.decode, slow
    build.available_cores, build.WORTH_A_PROCESS, build.BATCH_BYTES = lambda: 2, 1, 1
    open_images(find_source(sys.argv[1]), None, Path(sys.argv[2]), SilentProgress())
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_stopped_while_decoding_no_process_goes_on(write_folder: Any, tmp_path: Path, how: signal.Signals) -> None:
    root, cache = write_folder(count=1000), tmp_path / "cache"
    script = [sys.executable, "-c", textwrap.dedent(SLOW), str(root), str(cache)]
    process = subprocess.Popen(
        script, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout is not None
    workers = {int(process.stdout.readline()) for _ in range(6)}
    assert len(workers) == 2 and all(runs(worker) for worker in workers)
    os.killpg(process.pid, how)  # as a terminal does
    _, errors = process.communicate(timeout=30)
    if how is signal.SIGINT:
        assert errors.count("Traceback") == 1 and errors.rstrip().endswith("KeyboardInterrupt")
        assert [path.name for path in cache.glob("images-*/*") if not path.name.endswith(".lock")] == []
    until(lambda: not any(runs(worker) for worker in workers))


# --- what is imported ------------------------------------------------------------------------------------------------


def test_a_process_imports_neither_torch_nor_numpy_nor_pyarrow() -> None:
    code = "import sys, poolsearch.data.worker; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "PIL.Image" in loaded and not {"torch", "torchvision", "numpy", "pyarrow", "sklearn"} & set(loaded)


UNGUARDED = """
    import sys
    print("the script runs")
    import poolsearch
    from poolsearch.data import build

    build.available_cores, build.WORTH_A_PROCESS = lambda: 2, 10
    taken = []
    processes = build.DecoderPool
    build.DecoderPool = lambda number: taken.append(number) or processes(number)
    tiny = dict(width=2, members=2, epochs=1, precision="fp32", batch=16, val_batch=16, device="cpu")
    poolsearch.search(sys.argv[2], poolsearch.Settings.of(data=sys.argv[1], **tiny))
    print("processes:", *taken)
"""


def test_a_script_without_a_main_guard_runs_once(write_folder: Any, tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(textwrap.dedent(UNGUARDED))
    command = [sys.executable, str(script), str(write_folder(count=40)), str(tmp_path / "run")]
    result = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == ["the script runs", "processes: 2"]
