"""The table of classes: what loses most first, and nothing that a class name can break."""

from __future__ import annotations

import json
from pathlib import Path

from fake_run import HOSTILE, write_fake_run

from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.page.sections import body
from poolsearch.reports.page.tables import MOST_CLASSES, class_table


def line(name: str, images: int, winner: float | None, default: float | None) -> dict[str, object]:
    def values(recall: float | None) -> dict[str, float | None]:
        return {"recall": recall, "precision": 0.5, "f1": recall}

    return {"class": name, "images": images, "winner": values(winner), "default": values(default)}


def with_classes(folder: Path, lines: list[dict[str, object]]) -> Path:
    write_fake_run(folder)
    test = json.loads((folder / "test.json").read_text())
    (folder / "test.json").write_text(json.dumps(test | {"classes": lines}))
    return folder


def test_classes_that_lose_most_come_first_and_unknown_ones_are_dashes(tmp_path: Path) -> None:
    lines = [line("gains", 10, 0.9, 0.5), line("none", 0, None, None), line(HOSTILE, 1200, 0.25, 0.75)]
    data = read_run(with_classes(tmp_path / "run", lines))
    found = class_table(data)
    assert found is not None
    _, head, rows = found
    assert [title for title, _ in head][:4] == ["class", "test images", "recall, winner", "recall, default"]
    assert [cells[1] for _, cells in rows] == ["1,200", "0", "10"]
    assert rows[0][1][2:] == ["25.0%", "75.0%", "50.0%", "50.0%", "25.0%", "75.0%"]
    assert rows[1][1][2:4] == ["–", "–"]
    page = body(data, {})
    assert "Class by class" in page and HOSTILE not in page


def test_of_many_classes_some_are_shown(tmp_path: Path) -> None:
    lines = [line(f"class{i}", 5, i / 1000, 0.5) for i in range(1000)]
    found = class_table(read_run(with_classes(tmp_path / "run", lines)))
    assert found is not None
    caption, _, rows = found
    assert len(rows) == MOST_CLASSES and rows[0][1][0] == "class0"
    assert f"Shown are {MOST_CLASSES} of 1,000" in caption


def test_a_run_of_before_there_were_any_has_no_such_table(tmp_path: Path) -> None:
    write_fake_run(tmp_path / "run")
    assert class_table(read_run(tmp_path / "run")) is None
