"""Which images are for what, as other programs read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from poolsearch.data import find_source, make_split, open_images, read_groups, subset_training, write_split
from poolsearch.progress import SilentProgress
from poolsearch.storage.run_dir import RunDir


def test_every_image_is_listed_with_its_part_and_group(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    root = write_folder("photos", count=20)
    (root / "cat" / "004.png").write_bytes(b"no image")
    names = [f"{name}/{i:03}.png" for name in ("cat", "dog") for i in range(20)]
    (tmp_path / "groups.csv").write_text("\n".join(f"{name},p{i % 10}" for i, name in enumerate(names)))
    images = open_images(find_source(str(root)), None, tmp_path / "cache", SilentProgress())
    groups = read_groups(tmp_path / "groups.csv", images)
    split = subset_training(make_split(images.label_N, images.part_N, 0, groups=groups), images.label_N, 12, 0)
    run = RunDir(tmp_path / "run")
    write_split(run, images, split)

    names.remove("cat/004.png")
    rows = pq.read_table(run.images).to_pylist()
    assert [row["file"] for row in rows] == names and [row["index"] for row in rows] == list(range(39))
    written = json.loads(run.split.read_text())
    for row in rows:
        assert row["class"] == row["file"].split("/")[0]
        assert row["group"] == f"p{int(row['file'][-7:-4]) % 10}", "twenty of each class: ten groups, twice"
        parts = [part for part in ("search_train", "search_val", "test") if row["index"] in written[part]]
        assert parts == ([row["part"]] if row["part"] else [])
    assert 0 < sum(not row["part"] for row in rows) == 39 - 12 - len(split.test)
    for part, count in written["groups"].items():
        assert count == len({row["group"] for row in rows if row["part"] == part})


def test_without_groups_none_are_written(write_folder: Callable[..., Path], tmp_path: Path) -> None:
    images = open_images(find_source(str(write_folder())), None, tmp_path / "cache", SilentProgress())
    run = RunDir(tmp_path / "run")
    write_split(run, images, make_split(images.label_N, images.part_N, 0))
    assert json.loads(run.split.read_text())["groups"] is None
    assert set(pq.read_table(run.images)["group"].to_pylist()) == {""}
