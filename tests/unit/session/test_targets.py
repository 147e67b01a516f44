"""What a run makes of images whose targets are no classes, before anything is trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pyarrow.parquet as pq
import pytest

import poolsearch
from poolsearch.data import (
    Images,
    Split,
    groups_of,
    make_split,
    open_images,
    subset_training,
    write_duplicates,
    write_split,
)
from poolsearch.data.objects import write_images
from poolsearch.data.source import find_source
from poolsearch.errors import PoolsearchError
from poolsearch.progress import SilentProgress
from poolsearch.session.images import images_of
from poolsearch.session.notes import classes_note, split_notes
from poolsearch.session.objects import Objects, settings_with
from poolsearch.session.open_run import open_run
from poolsearch.settings import Settings
from poolsearch.storage.run_dir import RunDir

COUNT = 24
PIXELS = np.random.default_rng(0).integers(0, 256, (COUNT, 8, 8, 3), dtype=np.uint8)
PIXELS[COUNT - 1] = PIXELS[0]
ONES = np.zeros((COUNT, 3), int)
ONES[:20, 0] = ONES[:5, 1] = 1
MASKS = np.zeros((COUNT, 8, 8), int)
MASKS[:, :2], MASKS[:, 7] = 2, 255
VALUES = np.stack([np.arange(COUNT), np.full(COUNT, -0.5)], 1)
OF_KIND: dict[str, Any] = {"labels": ONES, "values": VALUES, "masks": MASKS}
NOTES = {
    "labels": "3 labels (images): 0 (20), 1 (5), 2 (0); 4 images have none",
    "values": "2 values of each image (range): 0 (0 to 23), 1 (-0.5 to -0.5)",
    "masks": "3 classes of pixels (share): 0 (71.4%), 1 (0.0%), 2 (28.6%); 12.5% of the pixels do not count",
}


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Images]:
    cache = tmp_path_factory.mktemp("cache")
    found: dict[str, Images] = {}
    for name, targets in OF_KIND.items():
        kind = cast(Any, name)
        source = find_source(str(write_images({"train": (PIXELS, targets)}, cache, SilentProgress(), kind)), None, kind)
        found[name] = open_images(source, None, cache, SilentProgress())
    return found


def split_of(images: Images) -> Split:
    return make_split(images.label_N, images.part_N, seed=0)


@pytest.mark.parametrize("kind", OF_KIND)
def test_what_is_to_be_learned_is_told(kind: str, opened: dict[str, Images]) -> None:
    assert classes_note(opened[kind]) == NOTES[kind]


def test_values_of_a_shape_are_told_by_it() -> None:
    images = SimpleNamespace(kind="values", target_N=np.zeros((4, 17, 3), np.float32), class_names=("0", "1", "2"))
    assert classes_note(cast(Any, images)) == "values of shape 17x3 of each image"


@pytest.mark.parametrize("kind", OF_KIND)
def test_images_without_classes_are_divided_at_random(kind: str, opened: dict[str, Images], tmp_path: Path) -> None:
    images = opened[kind]
    split = split_of(images)
    assert [len(part) for part in (split.search_train, split.search_val, split.test)] == [10, 9, 5]
    write_split(RunDir(tmp_path), images, split)
    listed = pq.read_table(tmp_path / "images.parquet").to_pydict()
    assert listed["class"] == [""] * COUNT and listed["part"].count("test") == 5
    found = write_duplicates(RunDir(tmp_path), images, split)
    copies = json.loads((tmp_path / "duplicates.json").read_text())
    assert all(copy["class"] == copy["of_class"] == "" for part in copies.values() for copy in part)
    assert sum(sum(part.values()) for part in found.values()) <= 1
    assert len(subset_training(split, images.label_N, 4, seed=0).train_all) == 4
    with pytest.raises(PoolsearchError, match="Choose 4 to 19"):
        subset_training(split, images.label_N, 3, seed=0)


@pytest.mark.parametrize("kind", OF_KIND)
def test_warnings_are_of_labels_alone(kind: str, opened: dict[str, Images]) -> None:
    copies = {part: {"exact": 0, "near": 0} for part in ("test", "search_val")}
    _, warnings = split_notes(opened[kind], split_of(opened[kind]), Settings().data, copies)
    absent = [text for text in warnings if "has no image" in text]
    assert warnings == absent and len(absent) == (3 if kind == "labels" else 0)
    assert all(text.endswith("labels: 2.") or "1, 2." in text for text in absent)


@pytest.mark.parametrize(("group_N", "expected"), [(["a"] * COUNT, "all images in one group"), (None, None)])
def test_groups_need_no_classes(group_N: Sequence[str] | None, expected: str | None, opened: dict[str, Images]) -> None:
    from dataclasses import replace

    several = [f"g{number // 4}" for number in range(COUNT)]
    images = replace(opened["values"], group_N=group_N or several)
    if expected is not None:
        with pytest.raises(PoolsearchError, match=expected):
            groups_of(None, images)
        return
    split = make_split(images.label_N, images.part_N, 0, groups=groups_of(None, images))
    parts = [{several[i] for i in part} for part in (split.search_train, split.search_val, split.test)]
    assert not parts[0] & parts[1] and not parts[0] & parts[2] and not parts[1] & parts[2] and all(parts)


# --- from settings ---------------------------------------------------------------------------------------------------


def test_the_task_says_what_targets_are(tmp_path: Path) -> None:
    given = {"train": (PIXELS, ONES)}
    settings = Settings.of(task="multi-label", cache_dir=str(tmp_path))
    settings = settings_with(settings, None, Objects(), given, {}, SilentProgress())
    assert settings is not None and images_of(settings, SilentProgress(), kind="labels").kind == "labels"
    with pytest.raises(PoolsearchError, match=r"should be learned \(--task\)"):
        images_of(settings, SilentProgress(), kind="values")


def task(**changes: Any) -> poolsearch.Task:
    return poolsearch.Task(lambda outputs, _: outputs.mean(), lambda outputs, _: outputs.mean(), **changes)


def test_a_task_of_ones_own_collates(tmp_path: Path) -> None:
    given = {"train": (PIXELS, [{"age": number} for number in range(COUNT)])}
    own = task(collate=lambda some: np.array([one["age"] for one in some]), targets="values")
    settings = Settings.of(cache_dir=str(tmp_path))
    settings = settings_with(settings, None, Objects.of(task=own), given, {}, SilentProgress())
    assert settings is not None
    images = images_of(settings, SilentProgress(), kind="values")
    assert images.target_N is not None and images.target_N.tolist() == list(range(COUNT))


def test_a_task_from_a_file_collates_where_the_user_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "mine.py"
    file.write_text(
        "import numpy, poolsearch\n"
        "def make():\n"
        "    return poolsearch.Task(print, print, lambda some: numpy.array(some) * 2.0, 'values')\n"
    )
    settings = Settings.of(cache_dir=str(tmp_path), task=f"{file}:make")
    given = {"train": (PIXELS, list(range(COUNT)))}
    found = settings_with(settings, None, Objects(), given, {}, SilentProgress())
    assert found is not None
    images = images_of(found, SilentProgress(), kind="values")
    assert images.target_N is not None and images.target_N[3] == 6
    monkeypatch.setattr("poolsearch.session.objects.saved_settings", lambda _: settings)  # a stranger's, perhaps
    with pytest.raises(PoolsearchError, match="what their targets are is said by the run's task"):
        settings_with(None, tmp_path, Objects(), given, {}, SilentProgress())
    assert settings_with(None, tmp_path, Objects(), given, {"task": f"{file}:make"}, SilentProgress()) == found


def test_a_run_is_not_gone_on_with_when_its_targets_changed(tmp_path: Path, tiny: Any) -> None:
    """Of the same images."""
    lines = ["file,x", *(f"{number}.npy,{number}" for number in range(COUNT))]
    for number, pixels in enumerate(PIXELS):
        np.save(tmp_path / f"{number}.npy", pixels)
    table = tmp_path / "table.csv"
    table.write_text("\n".join(lines))
    settings = tiny(data=str(table), task="regression", batch=4, val_batch=4, retrain_batch=4)
    with open_run(tmp_path / "run", settings, False, SilentProgress()) as opened:
        assert opened.images.kind == "values"
    table.write_text("\n".join([*lines[:-1], f"{COUNT - 1}.npy,0"]))
    expected = pytest.raises(PoolsearchError, match="or what is to be learned of them, changed since")
    with expected, open_run(tmp_path / "run", None, True, SilentProgress()):
        pass
