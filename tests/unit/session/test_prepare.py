"""What is said of the images before anything is trained, and how a run takes up a table's division."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
from PIL import Image

from poolsearch.progress import SilentProgress
from poolsearch.session.notes import classes_note
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings


class Told(SilentProgress):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


def noted(*counts: int) -> str:
    names = tuple(f"c{number}" for number in range(len(counts)))
    label_N = np.repeat(np.arange(len(counts)), counts)
    return classes_note(cast(Any, SimpleNamespace(kind="classes", class_names=names, label_N=label_N)))


def test_classes_are_listed_with_their_images() -> None:
    assert noted(1200, 3) == "2 classes (images): c0 (1,200), c1 (3)"
    assert noted(*range(1, 32)) == (
        "31 classes (images), the largest: c30 (31), c29 (30), c28 (29); the smallest: c2 (3), c1 (2), c0 (1)"
    )


def test_the_division_and_groups_of_a_table_are_the_runs(tmp_path: Path, tiny: Callable[..., Settings]) -> None:
    draw = np.random.default_rng(0)
    rows = ["file;label;split;group"]
    for number in range(24):
        Image.fromarray(draw.integers(0, 256, (8, 8, 3), np.uint8)).save(tmp_path / f"{number:02}.png")
        label, part = ("dog", "cat")[number % 2], ("train", "val", "test")[number // 8]
        rows.append(f"{number:02}.png;{label};{part};g{number // 4}")
    (tmp_path / "labels.csv").write_text("\n".join(rows), encoding="utf-8-sig")
    told, out = Told(), tmp_path / "run"
    settings = tiny(data=str(tmp_path / "labels.csv"), batch=4, val_batch=4, retrain_batch=4)
    with open_run(out, settings, False, told):
        pass
    assert told.said[:2] == ["labels.csv: columns file, label, split, group", "2 classes (images): cat (12), dog (12)"]
    listed = pq.read_table(out / "images.parquet").to_pylist()
    assert [row["file"] for row in listed] == [f"{number:02}.png" for number in range(24)]
    assert [row["part"] for row in listed] == ["search_train"] * 8 + ["search_val"] * 8 + ["test"] * 8
    assert [row["group"] for row in listed] == [f"g{number // 4}" for number in range(24)]
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert run["data"]["groups"] == 6 and not [text for text in run.get("warnings", ()) if "group" in text]
