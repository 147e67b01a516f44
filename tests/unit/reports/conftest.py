"""One fake run with all stages and its report, shared by the tests that only read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_run import HOSTILE, write_fake_run

from poolsearch.reports import write_report


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    skipped = [{"file": f"train/{HOSTILE}/a.jpg", "reason": "truncated"}]
    write_fake_run(folder, class_names=("cat", HOSTILE), data_name=HOSTILE, skipped=skipped)
    write_report(folder)
    return folder
