"""The whole job with a relaxed method."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from poolsearch import pipeline
from poolsearch.settings import Settings
from poolsearch.space import Placement
from poolsearch.storage.run_dir import RunDir

Tiny = Callable[..., Settings]
SMALL = {"members": None, "batch": 32, "val_batch": 32, "subset": 240, "epochs": 2}


def text_of(page: Path) -> str:
    html = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page.read_text())
    return re.sub(r"\s+", " ", re.sub(r"(?s)<[^>]*>", " ", html))


@pytest.mark.parametrize(("method", "order"), [("darts", 1), ("darts", 2), ("gaea", 1)])
def test_a_run_searches_ranks_retrains_and_tells(tmp_path: Path, tiny: Tiny, method: str, order: int) -> None:
    page = pipeline.run(tmp_path, tiny(method=method, arch_order=order, **SMALL)).page
    files = RunDir(tmp_path)
    found = json.loads(files.relaxed.read_text())
    test = json.loads(files.test.read_text())
    assert test["winner"] == found["placement"]
    assert [stage["stage"] for stage in json.loads(files.run.read_text())["stages"]] == ["search", "rank", "retrain"]
    enlarged = any(min(site) < 0 for site in Placement.parse(found["placement"]).sites)
    text = text_of(page)
    assert "What the relaxed search found" in text and f"{method.upper()} found" in text
    assert ("outside the restricted space: it needs upsampling" in text) == enlarged
    assert {"relaxed.png", "relaxed.svg", "weights.png"} <= {path.name for path in files.figures.iterdir()}


@pytest.mark.nightly
def test_the_stages_one_by_one_and_a_page_at_every_point(tmp_path: Path, tiny: Tiny) -> None:
    pipeline.search(tmp_path, tiny(method="gaea", **SMALL))
    files = RunDir(tmp_path)
    found = files.relaxed.read_text()
    files.relaxed.unlink()
    text = text_of(pipeline.report(tmp_path))  # as after a stop before the end
    assert "What the relaxed search found" not in text and "there is no answer yet" in text
    pipeline.search(tmp_path, None, resume=True)
    assert files.relaxed.read_text() == found
    assert "What the relaxed search found" in text_of(pipeline.report(tmp_path))
    pipeline.rank(tmp_path)
    text = text_of(pipeline.report(tmp_path))
    assert "GAEA found" in text and "with the weights of the relaxed supernet" in text
    pipeline.retrain(tmp_path)
    pipeline.run(tmp_path, None, resume=True)
    assert json.loads(files.test.read_text())["winner"] == json.loads(found)["placement"]
