"""What a run says about its images: copies on two sides, and groups that keep them together."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import accuracy_score, f1_score

from poolsearch.cli.main import main

Folder = Callable[..., Path]


@pytest.fixture
def copied(image_folder: Folder) -> Path:
    """A folder of class folders; of the first six images of each class there are four copies."""
    folder = image_folder()
    for path in sorted(folder.glob("*/00[0-5].jpg")):
        for number in range(4):
            shutil.copy(path, path.with_name(f"{path.stem}_copy{number}.jpg"))
    return folder


def searched(out: Path, *flags: str) -> tuple[dict, dict, list[dict]]:
    assert main(["search", "--out", str(out), "--quiet", *flags]) == 0
    run, copies = (json.loads((out / name).read_text()) for name in ("run.json", "duplicates.json"))
    return run, copies, pq.read_table(out / "images.parquet").to_pylist()


def test_copies_are_told_and_groups_keep_them_together(copied: Path, tmp_path: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--data", str(copied), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    run, copies, listed = searched(tmp_path / "plain", *flags)
    part_of = {row["file"]: row["part"] for row in listed}
    original = {file: file.replace("_copy", " ").split(" ")[0].removesuffix(".jpg") for file in part_of}
    for part, others in (("test", ("search_train", "search_val")), ("search_val", ("search_train",))):
        expected = {
            file
            for file in part_of
            if part_of[file] == part
            and any(original[other] == original[file] and part_of[other] in others for other in part_of)
        }
        assert {row["file"] for row in copies[part]} == expected
        assert all(original[row["file"]] == original[row["of_file"]] for row in copies[part])
        assert run["data"]["duplicates"][part] == {"exact": len(expected), "near": 0}
        assert expected, "five of one image can hardly all lie on one side"
        told = [text for text in run["warnings"] if f"{part.replace('_', '-')} images are copies of" in text]
        assert len(told) == 1 and told[0].startswith(f"{len(expected)} of ")

    groups = tmp_path / "groups.csv"
    with open(groups, "w", newline="") as handle:
        csv.writer(handle).writerows([("file", "group"), *original.items()])
    run, copies, listed = searched(tmp_path / "grouped", *flags, "--groups", str(groups))
    assert copies == {"test": [], "search_val": []} and not [w for w in run["warnings"] if "copies" in w]
    assert run["data"]["groups"] == 72 and run["settings"]["data"]["groups"] == str(groups)
    sides: dict[str, set[str]] = {}
    for row in listed:
        assert row["group"] == original[row["file"]]
        sides.setdefault(row["group"], set()).add(row["part"])
    assert all(len(parts) == 1 for parts in sides.values())


def test_copies_are_looked_for_once(copied: Path, tmp_path: Path, tiny_flags: list[str]) -> None:
    flags = [*tiny_flags, "--data", str(copied), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    run, _, _ = searched(tmp_path / "run", *flags)
    written = (tmp_path / "run" / "duplicates.json").stat().st_mtime_ns
    assert main(["rank", "--out", str(tmp_path / "run"), "--quiet"]) == 0
    again = json.loads((tmp_path / "run" / "run.json").read_text())
    assert again["data"] == run["data"] and again["warnings"] == run["warnings"]
    assert (tmp_path / "run" / "duplicates.json").stat().st_mtime_ns == written


def test_classes_of_unequal_size_are_told_and_ranked_alike(
    image_folder: Folder, tmp_path: Path, tiny_flags: list[str]
) -> None:
    folder = image_folder(images=40)
    for path in sorted((folder / "class1").iterdir())[8:]:
        path.unlink()
    flags = [*tiny_flags, "--data", str(folder), "--image-size", "16", "--batch", "8", "--val-batch", "8"]
    told = "classes are of very different sizes (32 training images of class0, 6 of class1)"
    run, _, _ = searched(tmp_path / "plain", *flags)
    assert [text for text in run["warnings"] if text.startswith(told)]
    out = tmp_path / "f1"
    assert main(["run", "--out", str(out), "--quiet", *flags, "--metric", "macro-f1"]) == 0
    run, test = (json.loads((out / name).read_text()) for name in ("run.json", "test.json"))
    assert not [text for text in run["warnings"] if text.startswith("classes are of")]
    with open(out / "ranking.csv", newline="") as handle:
        rows = list(csv.DictReader(handle))
    values = [float(row["val_metric"]) for row in rows]
    assert values == sorted(values, reverse=True) and values != [float(row["val_accuracy"]) for row in rows]
    assert all(float(row["low"]) <= value <= float(row["high"]) for row, value in zip(rows, values, strict=True))
    assert json.loads((out / "ranking.json").read_text())["metric"] == test["metric"] == "macro-f1"
    listed = pq.read_table(out / "images.parquet").to_pylist()
    true_N = [int(row["class"].removeprefix("class")) for row in listed if row["part"] == "test"]
    for trial in test["trials"]:
        predicted_N = np.load(out / "retrain" / trial["placement"] / str(trial["seed"]) / "test_predicted.npy")
        assert trial["value"] == pytest.approx(f1_score(true_N, predicted_N, average="macro", zero_division=0))
        assert trial["accuracy"] == pytest.approx(accuracy_score(true_N, predicted_N))
    for row in test["summary"]:
        assert row["mean"] == pytest.approx(
            np.mean([trial["value"] for trial in test["trials"] if trial["placement"] == row["placement"]])
        )
    page = (out / "report.html").read_text()
    assert "validation macro F1" in page and "Class by class" in page and "validation accuracy" not in page
