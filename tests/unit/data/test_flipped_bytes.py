"""Small valid data sets with bytes of one file changed, cut or repeated at random: PoolsearchError, an image left out
with a reason, or images used; never another exception, and never a label that was not there."""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from poolsearch.data import find_source, open_images, read_groups
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress

TIMES = 40
LABELS = [0] * 7 + [1] * 7
PIXELS = np.random.default_rng(0).integers(0, 256, (14, 9, 9, 3), np.uint8)
GROUPS = "file,group\n" + "".join(f"{'ab'[i // 7]}/{i:02}.png,patient {i // 2}\n" for i in range(14))


def encoded(number: int, kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(PIXELS[number]).save(buffer, kind)
    return buffer.getvalue()


def folder(root: Path, kind: str, end: str) -> tuple[Path, Path]:
    for number in range(14):
        path = root / "ab"[number // 7] / f"{number:02}.{end}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(number, kind))
    return root, root / "a" / f"03.{end}"


def archive(root: Path, save: Callable[..., None]) -> tuple[Path, Path]:
    root.mkdir()
    save(root / "a.npz", x=PIXELS, y=np.array(LABELS))
    return root / "a.npz", root / "a.npz"


def table(root: Path) -> tuple[Path, Path]:
    root.mkdir()
    feature = b'{"info": {"features": {"label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}}}'
    rows = pa.table({"image": [{"bytes": encoded(i, "PNG"), "path": f"{i}"} for i in range(14)], "label": LABELS})
    pq.write_table(rows.replace_schema_metadata({"huggingface": feature}), root / "train-0.parquet", row_group_size=5)
    return root, root / "train-0.parquet"


def groups(root: Path) -> tuple[Path, Path]:
    data, _ = folder(root, "PNG", "png")
    (root.parent / "groups.csv").write_text(GROUPS)
    return data, root.parent / "groups.csv"


SETS: dict[str, Callable[[Path], tuple[Path, Path]]] = {
    "png": lambda root: folder(root, "PNG", "png"),
    "jpeg": lambda root: folder(root, "JPEG", "jpg"),
    "gif": lambda root: folder(root, "GIF", "gif"),
    "tiff": lambda root: folder(root, "TIFF", "tif"),
    "webp": lambda root: folder(root, "WEBP", "webp"),
    "npz": lambda root: archive(root, np.savez),
    "packed npz": lambda root: archive(root, np.savez_compressed),
    "parquet": table,
    "groups": groups,
}


def changed(content: bytes, draw: np.random.Generator) -> bytes:
    at, length = (int(draw.integers(0, len(content))) for _ in range(2))
    kind = draw.integers(0, 4)
    if kind == 0:
        return content[:at]
    if kind == 1:
        return content[:at] + content[at : at + length] + content[at:]
    some = bytearray(content)
    for place in draw.integers(0, len(content), 1 if kind == 2 else 8):
        some[place] = draw.integers(0, 256)
    return bytes(some)


def outcome(data: Path, cache: Path, csv: Path | None) -> str:
    try:
        images = open_images(find_source(str(data)), None, cache, SilentProgress())
        if csv is not None:
            assert len(read_groups(csv, images).number_N) == len(images.label_N)
    except PoolsearchError as error:
        assert len(str(error)) < 3000
        return "refused"
    assert len(images.pixels_NHWC) == len(images.label_N) == len(images.files) and set(images.label_N) == {0, 1}
    assert all(entry["reason"] for entry in images.skipped)
    return "left out" if images.skipped else "used"


@pytest.mark.parametrize("kind", SETS)
def test_changed_bytes(tmp_path: Path, kind: str) -> None:
    data, victim = SETS[kind](tmp_path / "data")
    content, draw = victim.read_bytes(), np.random.default_rng(len(kind))
    csv = victim if kind == "groups" else None
    assert outcome(data, tmp_path / "cache", csv) == "used"
    outcomes: Counter[str] = Counter()
    for number in range(TIMES):
        victim.write_bytes(changed(content, draw))
        outcomes[outcome(data, tmp_path / f"cache{number}", csv)] += 1
    assert outcomes.total() == TIMES
    assert outcomes["used"] < TIMES, "most changes are seen"
