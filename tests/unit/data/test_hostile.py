"""Damaged and hostile data sets, of every kind of source: refused by name, left out with a reason, or used as they are.

Never a hang, never another exception, never more memory than the limits say.
"""

from __future__ import annotations

import io
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import textwrap
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsearch.data import find_source, open_images, read_groups
from poolsearch.data.cache import Images
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress

pytestmark = pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="pipes, links and alarms are those of POSIX")


@pytest.fixture(autouse=True)
def no_hang() -> Iterator[None]:
    """What waits for ever becomes a failure."""

    def stop(*_: Any) -> None:
        raise AssertionError("it hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(30)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def encoded(seed: int, kind: str = "PNG", side: int = 12) -> bytes:
    buffer = io.BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def opened(path: Path) -> Images:
    return open_images(find_source(str(path)), None, path.parent / "cache", SilentProgress())


def png_chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, pixels: bytes, *chunks: bytes) -> bytes:
    heading = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + heading + b"".join(chunks) + png_chunk(b"IDAT", pixels) + png_chunk(b"IEND", b"")


def tiff(width: int, height: int) -> bytes:
    tags = [(256, width), (257, height), (258, 8), (259, 1), (262, 1), (273, 8), (277, 1), (278, height), (279, 4)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<I", 12) + b"\0" * 4 + struct.pack("<H", len(tags)) + entries + b"\0" * 4


# --- what stands in the place of one image ---------------------------------------------------------------------------

USED = None
GIF = struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b"," + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0)
GIF += b"\x02\x02\x4c\x01\0;"
BOMB = png_chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * (64 << 20)))

CONTENTS: dict[str, tuple[bytes, str | None]] = {
    "another kind than its name says": (encoded(1, "JPEG"), USED),
    "nothing": (b"", "not an image"),
    "text": (b"this is no image", "not an image"),
    "half a picture": (encoded(1, "JPEG", 90)[:900], "damaged or unreadable"),
    "a program for Ghostscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n", "not an image"),
    "a picture of 177 million pixels": (png(13_300, 13_300, zlib.compress(b"\0" * 1000)), "too large: 13300 x 13300"),
    "a picture of 3.6 billion pixels": (png(60_000, 60_000, zlib.compress(b"\0")), "too large"),
    "a TIFF of 144 million pixels": (tiff(12_000, 12_000), "too large: 12000 x 12000"),
    "a bitmap of 150 million pixels": (
        b"BM" + struct.pack("<IHHI", 58, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, 15_000, 10_000, 1, 24, *[0] * 6),
        "too large: 15000 x 10000",
    ),
    "a GIF of 4.3 billion pixels": (b"GIF89a" + GIF, "too large"),
    "a remark of 64 MB": (png(12, 12, zlib.compress(bytes(37 * 12)), BOMB), "damaged or unreadable"),
}


@pytest.mark.parametrize("kind", CONTENTS)
@pytest.mark.parametrize("source", ["folder", "parquet"])
def test_one_image(tmp_path: Path, source: str, kind: str) -> None:
    content, reason = CONTENTS[kind]
    cells = [encoded(i) for i in range(5)] + [content] + [encoded(i) for i in range(6)]
    root = tmp_path / "data"
    for number, cell in enumerate(cells) if source == "folder" else ():
        path = root / "ab"[number // 6] / f"{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(cell)
    if source == "parquet":
        root.mkdir()
        pq.write_table(pa.table({"image": cells, "label": [0] * 6 + [1] * 6}), root / "train-0.parquet")
    images = opened(root)
    if reason is USED:
        assert len(images.label_N) == 12 and images.skipped == []
        return
    named = "a/05.png" if source == "folder" else "train-0.parquet row 5"
    assert [entry["file"] for entry in images.skipped] == [named]
    assert images.skipped[0]["reason"].startswith(reason)
    assert images.label_N.tolist() == [0] * 5 + [1] * 6


# --- what is not a file, and names -----------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(6):
            (root / name / f"{number}.png").write_bytes(encoded(number))
    return root


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as there:
        here = os.getcwd()
        os.chdir(path.parent)  # the names of sockets are short
        there.bind(path.name)
        os.chdir(here)


def outside(path: Path) -> Path:
    (path.parents[2] / "elsewhere").mkdir()
    (path.parents[2] / "elsewhere" / "z.png").write_bytes(encoded(9))
    return path.parents[2] / "elsewhere"


NOT_FILES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "a named pipe": (os.mkfifo, "not a file but a named pipe"),
    "a socket": (a_socket, "not a file but a socket"),
    "a link to a device that never ends": (lambda path: path.symlink_to("/dev/zero"), "not a file but a device"),
    "a link to nothing": (lambda path: path.symlink_to("nowhere"), "damaged or unreadable: [Errno 2]"),
    "a link to itself": (lambda path: path.symlink_to(path.name), "damaged or unreadable: [Errno 40]"),
    "a link to an image elsewhere": (lambda path: path.symlink_to(outside(path) / "z.png"), USED),
    "a link to a folder elsewhere": (lambda path: path.symlink_to(outside(path)), USED),
    "2 TB of nothing": (lambda path: (path.touch(), os.truncate(path, 1 << 41)), "too large: 2,199.02 GB"),
}


@pytest.mark.parametrize("kind", NOT_FILES)
def test_what_is_not_a_file(folder: Path, kind: str) -> None:
    make, reason = NOT_FILES[kind]
    make(folder / "a" / "x.png")
    images = opened(folder)
    assert [entry["file"] for entry in images.skipped] == ([] if reason is USED else ["a/x.png"])
    assert all(entry["reason"].startswith(str(reason)) for entry in images.skipped)
    assert len(images.label_N) == 12 + (reason is USED)


NAMES = {
    b"caf\xe9.png": "caf\\xe9.png",
    b"\xff\xfe.png": "\\xff\\xfe.png",
    "caf\u00e9.png".encode(): "caf\u00e9.png",
    b"two\nlines\t\x1b[31m.png": "two\nlines\t\x1b[31m.png",
    b"quotes\"'''$(x)\\N{DASH}.png": "quotes\"'''$(x)\\N{DASH}.png",
    b"n" * 251 + b".png": "n" * 251 + ".png",
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("where", ["image", "class", "data"])
def test_names_of_files_are_bytes(folder: Path, name: bytes, where: str) -> None:
    written = NAMES[name]
    if where == "image":
        (folder / "a" / os.fsdecode(name)).write_bytes(encoded(9))
    elif where == "class":
        (folder / "b").rename(folder / os.fsdecode(name))
    else:
        folder = folder.rename(folder.with_name(os.fsdecode(name)))
    images = opened(folder)
    assert images.skipped == []
    if where == "image":
        assert f"a/{written}" in images.files
    elif where == "class":
        assert written in images.class_names
    for text in (*images.files, *images.class_names):
        text.encode()


def test_a_file_in_the_place_of_the_folder(tmp_path: Path) -> None:
    for number, suffix in enumerate(("", ".npz", ".parquet")):
        os.mkfifo(tmp_path / f"{number}{suffix}")
        with pytest.raises(PoolsearchError, match="cannot be read as"):
            find_source(str(tmp_path / f"{number}{suffix}"))


# --- parquet ---------------------------------------------------------------------------------------------------------

CELLS = [encoded(i) for i in range(12)]
LABELS = [0, 1] * 6


def parquet(root: Path, metadata: Any = None, image: Any = CELLS, label: Any = LABELS, **options: Any) -> Path:
    table = pa.table({"image": image, "label": label})
    if metadata is not None:
        text = metadata if isinstance(metadata, bytes) else json.dumps(metadata).encode()
        table = table.replace_schema_metadata({"huggingface": text})
    root.mkdir(exist_ok=True)
    pq.write_table(table, root / "train-0.parquet", **options)
    return root


@pytest.mark.parametrize(
    "path", ["elsewhere/z.png", "../elsewhere/z.png", "train/../../elsewhere/z.png", "a\0b", "/dev/zero", "/etc/passwd"]
)
def test_paths_in_cells_stay_below_the_data_folder(tmp_path: Path, path: str) -> None:
    outside(tmp_path / "data" / "a" / "b")
    path = str(tmp_path / path) if path == "elsewhere/z.png" else path
    cells = [{"bytes": cell, "path": None} for cell in CELLS] + [{"bytes": None, "path": path}]
    images = opened(parquet(tmp_path / "data", image=cells, label=[*LABELS, 0]))
    assert [entry["file"] for entry in images.skipped] == ["train-0.parquet row 12"]
    assert "leads out of the data folder" in images.skipped[0]["reason"] or "\0" in path


CLASS = {"_type": "ClassLabel", "names": ["cat", "dog"]}
METADATA: dict[str, tuple[Any, str | None]] = {
    "not JSON": (b"{", "metadata 'huggingface' is damaged"),
    "not UTF-8": (b"\xff{}", "metadata 'huggingface' is damaged"),
    "deep": (b"[" * 200_000, "metadata 'huggingface' is damaged"),
    "a list": ([1], USED),
    "null": ({"info": None}, USED),
    "a number": ({"info": {"features": 3}}, USED),
    "features in a list": ({"info": {"features": [CLASS]}}, USED),
    "a feature that is a text": ({"info": {"features": {"image": "Image", "label": "ClassLabel"}}}, USED),
    "types of other types": (
        {"info": {"features": {"image": {"_type": ["Image"]}, "label": CLASS}}},
        "one column of im",
    ),
    "names in a dict": ({"info": {"features": {"label": CLASS | {"names": {"0": "cat"}}}}}, "a form that is not known"),
    "names that are numbers": (
        {"info": {"features": {"label": CLASS | {"names": [1, 2]}}}},
        "a form that is not known",
    ),
    "one name": ({"info": {"features": {"label": CLASS | {"names": "cat"}}}}, "a form that is not known"),
    "half a character": ({"info": {"features": {"label": CLASS | {"names": ["\ud800", "dog"]}}}}, USED),
}


@pytest.mark.parametrize("kind", METADATA)
def test_metadata_of_any_shape(tmp_path: Path, kind: str) -> None:
    metadata, said = METADATA[kind]
    root = parquet(tmp_path / "data", metadata)
    if said is USED:
        images = opened(root)
        assert images.label_N.tolist() == LABELS
        json.dumps(images.class_names, ensure_ascii=False).encode()
        return
    with pytest.raises(PoolsearchError, match=said):
        find_source(str(root))


TABLES: dict[str, tuple[Callable[[Path], object], str | None]] = {
    "no rows": (lambda root: parquet(root, image=pa.array([], pa.binary()), label=pa.array([], pa.int64())), "no rows"),
    "a folder": (lambda root: (root / "train-0.parquet").mkdir(parents=True), "cannot be read as a parquet file"),
    "nothing": (lambda root: (root.mkdir(), (root / "train-0.parquet").touch()), "cannot be read as a parquet file"),
    "a pipe": (lambda root: (root.mkdir(), os.mkfifo(root / "train-0.parquet")), "not a file but a named pipe"),
    "labels in lists": (lambda root: parquet(root, label=[[0], [1]] * 6), "must be integers"),
    "labels of yes and no": (lambda root: parquet(root, label=[True, False] * 6), "must be integers"),
    "labels beyond 63 bits": (
        lambda root: parquet(root, label=pa.array([2**64 - 1, 1] * 6, pa.uint64())),
        "negative|out of",
    ),
    "images in lists": (lambda root: parquet(root, image=[[cell] for cell in CELLS]), "one column of images"),
    "numbers in images": (lambda root: parquet(root, image=[{"bytes": i} for i in range(12)]), "no readable|none of"),
    "labels of two types": (
        lambda root: (
            parquet(root),
            (root / "train-0.parquet").rename(root / "train-1.parquet"),
            parquet(root, label=["a", "b"] * 6),
        ),
        "labels are string in one file and int64 in another",
    ),
    "no rows in a row group": (lambda root: parquet(root, row_group_size=5), USED),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_of_any_shape(tmp_path: Path, kind: str) -> None:
    make, said = TABLES[kind]
    make(tmp_path / "data")
    if said is USED:
        assert opened(tmp_path / "data").label_N.tolist() == LABELS
        return
    with pytest.raises(PoolsearchError, match=said):
        opened(tmp_path / "data")


def test_a_cell_that_occurs_often_is_not_unpacked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolsearch.data import parquet as parquet_module

    monkeypatch.setattr(parquet_module, "ARRAY_BYTES", 1 << 20)
    cell = bytes(200_000)
    root = parquet(tmp_path / "data", image=[cell] * 40 + CELLS, label=LABELS + [0, 1] * 20, compression="none")
    assert (root / "train-0.parquet").stat().st_size < 1 << 20 < 40 * len(cell)
    with pytest.raises(PoolsearchError, match=r"takes 1\.\d\d MB or more in row group 0.*Write the file anew"):
        opened(root)
    images = opened(
        parquet(tmp_path / "small", image=[cell] * 4 + CELLS, label=[*LABELS, 0, 1, 0, 1], row_group_size=4)
    )
    assert len(images.label_N) == 12 and len(images.skipped) == 4
    with pytest.raises(PoolsearchError, match=r"row group 0 of .*train-0\.parquet; at most"):
        find_source(str(parquet(tmp_path / "large", image=[os.urandom(100_000) for _ in range(12)])))


# --- npz -------------------------------------------------------------------------------------------------------------

PIXELS, NUMBERS = np.zeros((12, 8, 8, 3), np.uint8), np.arange(12) % 2


def headed(shape: object, kind: str = "|u1", data: bytes = bytes(500), version: int = 1) -> bytes:
    """An array's file whose heading says what it is told to say."""
    text = f"{{'descr': {kind!r}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H" if version == 1 else "<I", len(text)) + text + data


def archive(path: Path, x: bytes, y: bytes | None = None, packing: int = zipfile.ZIP_STORED) -> Path:
    buffer = io.BytesIO()
    np.save(buffer, NUMBERS)
    with zipfile.ZipFile(path, "w", packing) as file:
        file.writestr("x.npy", x)
        file.writestr("y.npy", buffer.getvalue() if y is None else y)
    return path


def patched(path: Path, find: bytes, put: bytes) -> Path:
    whole = path.read_bytes()
    assert find in whole
    path.write_bytes(whole.replace(find, put))
    return path


ARCHIVES: dict[str, Callable[[Path], object]] = {
    "a shape of 4 GB": lambda p: archive(p, headed((1400, 1000, 1000, 3))),
    "a shape beyond 64 bits": lambda p: archive(p, headed((2**40, 2**40))),
    "a shape of 0 bytes a pixel": lambda p: archive(p, headed((12, 0, 8), data=b"")),
    "a negative shape": lambda p: archive(p, headed((-12, 8, 8))),
    "labels of 8 EB": lambda p: archive(p, headed((12, 8, 8), data=bytes(768)), headed((2**60,), "<i8")),
    "objects": lambda p: archive(p, headed((12,), "|O")),
    "a heading of brackets": lambda p: archive(p, headed("(" * 5000)),
    "a heading that calls": lambda p: archive(p, headed("__import__('os').getpid()")),
    "an unknown version": lambda p: archive(p, headed((12, 8, 8), data=bytes(768), version=9)),
    "half a heading": lambda p: archive(p, headed((12, 8, 8))[:20]),
    "half of the pixels": lambda p: archive(p, headed((12, 8, 8), data=bytes(300))),
    "text": lambda p: archive(p, b"x"),
    "encrypted": lambda p: patched(
        archive(p, headed((12, 8, 8))), b"PK\x01\x02\x14\x03\x14\0\0\0", b"PK\x01\x02\x14\x03\x14\0\x01\0"
    ),
    "packed in an unknown way": lambda p: patched(
        archive(p, headed((12, 8, 8))), b"PK\x01\x02\x14\x03\x14\0\0\0\0\0", b"PK\x01\x02\x14\x03\x14\0\0\0\x63\0"
    ),
    "a pipe": os.mkfifo,
    "nothing": Path.touch,
}


@pytest.mark.parametrize("kind", ARCHIVES)
def test_archives_that_lie(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.npz"
    ARCHIVES[kind](path)
    with pytest.raises(PoolsearchError, match=r"a\.npz"):
        find_source(str(path))


def test_archives_are_measured_before_they_are_unpacked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from poolsearch.data import npz

    monkeypatch.setattr(npz, "ARRAY_BYTES", 1 << 20)
    np.savez_compressed(tmp_path / "a.npz", x=np.zeros((12, 2000, 2000, 3), np.uint8), y=NUMBERS)
    monkeypatch.setattr(np.lib.format, "read_array", lambda *_, **__: pytest.fail("unpacked"))
    with pytest.raises(PoolsearchError, match=r"would be unpacked to 0\.14 GB; at most 14\.\d\d MB are.*np\.savez"):
        find_source(str(tmp_path / "a.npz"))


# --- groups ----------------------------------------------------------------------------------------------------------

LINES = [f"{name}/{number}.png,{number // 2}" for name in "ab" for number in range(6)]
GROUPS: dict[str, Callable[[Path], object]] = {
    "a pipe": os.mkfifo,
    "a device": lambda p: p.symlink_to("/dev/zero"),
    "a folder": Path.mkdir,
    "2 TB of nothing": lambda p: (p.touch(), os.truncate(p, 1 << 41)),
    "UTF-16": lambda p: p.write_bytes("\n".join(LINES).encode("utf-16")),
    "Latin-1": lambda p: p.write_bytes("\n".join([*LINES[:-1], "b/5.png,M\u00fcller"]).encode("latin-1")),
    "half of it": lambda p: p.write_text("\n".join(LINES)[:100]),
    "a quote that does not end": lambda p: p.write_text("\n".join(['"', *LINES])),
    "zeros": lambda p: p.write_bytes(bytes(1000)),
    "a huge cell": lambda p: p.write_text("\n".join([*LINES, f"b/5.png,{'x' * 200_000}"])),
    "a huge row": lambda p: p.write_text("\n".join([*LINES, ",x" * 100_000])),
    "huge names of images": lambda p: p.write_text("\n".join([*LINES, *(f"{'y' * 100_000}{i},1" for i in range(9))])),
    "lines that end in nothing": lambda p: p.write_text("\r\r".join(LINES[:-1])),
}


@pytest.mark.parametrize("kind", GROUPS)
def test_groups_of_any_shape(folder: Path, kind: str) -> None:
    images, path = opened(folder), folder.parent / "groups.csv"
    GROUPS[kind](path)
    with pytest.raises(PoolsearchError, match=r"groups\.csv") as caught:
        read_groups(path, images)
    assert len(str(caught.value)) < 2500


def test_a_group_with_a_long_name_costs_its_length_once(folder: Path) -> None:
    images, path = opened(folder), folder.parent / "groups.csv"
    path.write_text("\n".join([*LINES[:-1], f"b/5.png,{'x' * 100_000}"]))
    import tracemalloc

    tracemalloc.start()
    groups = read_groups(path, images)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(groups.names) == 4 and groups.number_N.tolist() == [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 3]
    assert peak < 4_000_000, "an array of texts has the longest one's width: 12 x 400 kB"


# --- memory ----------------------------------------------------------------------------------------------------------

MEASURE = """
    import resource, sys, tempfile
    from pathlib import Path
    import pyarrow.parquet, torchvision
    from poolsearch.data import find_source, open_images
    from poolsearch.errors import PoolsearchError
    from poolsearch.progress import SilentProgress

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        images = open_images(find_source(sys.argv[1]), 64, Path(sys.argv[2]), SilentProgress())
        said = f"{len(images.label_N)} used, {len(images.skipped)} left out"
    except PoolsearchError as error:
        said = str(error)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(grown // 1024 if sys.platform == "darwin" else grown, said)  # bytes there, kB elsewhere
"""


def packed_zeros(size: int) -> bytes:
    packer = zlib.compressobj(1)
    return b"".join(packer.compress(bytes(1 << 20)) for _ in range(size >> 20)) + packer.flush()


def large_images(root: Path) -> Path:
    """Pictures with as many pixels as are allowed, of the kind that takes the most, and one with too many."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for number in range(5):
            (root / name / f"{number}.png").write_bytes(encoded(number, side=80))
    alpha = np.zeros((2000, 50_000, 4), np.uint8)
    Image.fromarray(alpha).save(root / "a" / "alpha.png", compress_level=1)
    Image.fromarray(alpha[..., 0].astype(np.uint16)).save(root / "b" / "grey.png", compress_level=1)
    (root / "b" / "large.png").write_bytes(png(13_300, 13_300, packed_zeros(13_300 * (3 * 13_300 + 1) + (1 << 20))))
    return root


def large_cells(root: Path) -> Path:
    cells = [bytes(200 << 20)] * 6 + CELLS
    return parquet(
        root,
        image=pa.array(cells, pa.large_binary()),
        label=LABELS + [0, 1] * 3,
        compression="zstd",
        use_dictionary=False,
    )


def large_archive(root: Path) -> Path:
    root.mkdir()
    return archive(
        root / "a.npz",
        headed((1500, 1000, 1000), data=bytes(1_500_000_000)),
        headed((1500,), data=bytes(1500)),
        zipfile.ZIP_DEFLATED,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("make", "said", "most"),
    [
        (large_images, "12 used, 1 left out", 1.4),
        (large_cells, "column 'image' takes 1.26 GB or more", 0.2),
        (large_archive, "would be unpacked to 1.50 GB", 0.2),
    ],
)  # fmt: skip
def test_memory(tmp_path: Path, make: Callable[[Path], Path], said: str, most: float) -> None:
    signal.alarm(0)
    arguments = [str(make(tmp_path / "data")), str(tmp_path / "cache")]
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(MEASURE), *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    kilobytes, _, told = result.stdout.partition(" ")
    assert said in told
    assert int(kilobytes) * 1024 < most * 1e9, "GB"
