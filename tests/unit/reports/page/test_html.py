"""The page: there after every stage, safe with hostile names, and drawn by Chromium under its own policy."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import pytest
from fake_run import HOSTILE, compositions, write_fake_run

from poolsearch.reports import write_report
from poolsearch.reports.page.assets import STYLE

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class Page(HTMLParser):
    """What a browser would see: elements with attributes, scripts, and the text outside of them."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text = ""
        self._inside = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def policy(self) -> str:
        return next(str(meta["content"]) for meta in self.all("meta") if "http-equiv" in meta)


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page((run / "report.html").read_text(encoding="utf-8"))


def test_a_ranking_stopped_early_says_so(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", 2, compositions(5, 3), ("search", "rank"), snapshots=2, stopped=2)
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "2 placements were stopped early" in page.text
    assert "The probability that any of the first 3 was stopped is at most 1%." in page.text
    assert page.text.count("stopped") - page.text.count("were stopped early") - page.text.count("was stopped") >= 2


@pytest.mark.parametrize(("members", "interrupted"), [(1, False), (2, True)])
@pytest.mark.parametrize("stages", [(), ("search",), ("search", "rank"), ("search", "rank", "retrain")])
def test_a_page_after_every_stage(tmp_path: Path, stages: tuple[str, ...], members: int, interrupted: bool) -> None:
    folder = write_fake_run(
        tmp_path / "run", members, compositions(5, 3), stages, snapshots=4, control=1, interrupted=interrupted
    )
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    assert "poolsearch run --resume --out run" in page.text
    headings = {"search": "How the search went", "rank": "Ranking", "retrain": "Trained alone"}
    assert [stage for stage in headings if headings[stage] in page.text] == list(stages)
    # the others have left their results: only their entries lack an end
    assert ("has not ended" in page.text) == (interrupted and stages[-1:] == ("retrain",))
    assert (folder / "figures" / "assignment.svg").exists() == ("search" in stages and members > 1)


def test_the_finished_page_says_the_verdict_and_nothing_is_left_to_do(page: Page) -> None:
    assert "Move the downsampling to 7,2,1" in page.text
    assert "--resume" not in page.text
    assert "poolsearch run --data" in page.text
    assert "--top-k 5 --retrain-epochs 120" in page.text


def test_a_run_that_has_just_begun_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text('{"poolsearch": "0.1.0", "given": {}, "stages": [], "warnings": ["look"]}')
    page = Page(write_report(tmp_path).read_text(encoding="utf-8"))
    assert "not logged an epoch" in page.text
    assert "look" in page.text


def test_an_opened_test_split_without_results_is_said(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path, 2, compositions(5, 3), ("search", "rank", "retrain"), snapshots=3)
    (folder / "test.json").write_text('{"opened": "2025-11-24T14:10:00+00:00", "winner": "1,1,3", "images": 10}')
    assert (
        "opened at 2025-11-24 14:10 UTC, and its results are not complete"
        in Page(write_report(folder).read_text()).text
    )


def test_given_weights_are_said(tmp_path: Path, page: Page) -> None:
    assert "trained from scratch" in page.text
    folder = write_fake_run(tmp_path, 2, compositions(5, 3), snapshots=3)
    record = json.loads((folder / "run.json").read_text())
    record["init"] = {"source": "net.pth", "sha256": "ab12cd", "replaced": ["fc.weight", "fc.bias"]}
    (folder / "run.json").write_text(json.dumps(record))
    text = Page(write_report(folder).read_text()).text
    assert "trained from given weights" in text
    assert "have a head start" in text
    for said in ("net.pth", "ab12cd", "fc.weight fc.bias"):
        assert said in text


def test_hostile_names_stay_text(page: Page) -> None:
    assert page.text.count(HOSTILE) >= 3  # heading, class names, skipped file
    assert not page.all("b")
    assert len(page.scripts) == 3
    assert all("alert" not in script for script in page.scripts)


def test_the_policy_names_the_hash_of_every_script_that_runs(page: Page) -> None:
    running = [text for text, element in zip(page.scripts, page.all("script"), strict=True) if "type" not in element]
    digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in running}
    assert digests == set(re.findall(r"'sha256-([^']+)'", page.policy))
    assert len(digests) == 2
    assert "default-src 'none'" in page.policy
    assert "unsafe-eval" not in page.policy


def test_nothing_is_loaded(page: Page) -> None:
    sources = [
        value for _, attributes in page.elements for name, value in attributes.items() if name in ("src", "href")
    ]
    assert sources
    assert all(str(source).startswith("data:") for source in sources)
    assert not page.all("link")
    assert "url(" not in STYLE


def test_every_figure_has_a_text_and_every_table_a_caption(page: Page) -> None:
    assert all(image["alt"] for image in page.all("img"))
    assert all(div["aria-label"] for div in page.all("div") if div.get("role") == "img")
    assert len(page.all("table")) == len(page.all("caption"))
    assert len(page.all("h1")) == 1


def test_the_page_is_light(run: Path) -> None:
    assert (run / "report.html").stat().st_size < 3_000_000


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_chromium_draws_every_panel_under_the_policy(run: Path, tmp_path: Path) -> None:
    flags = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-sync"
    wait = "--disable-component-update --enable-logging=stderr --virtual-time-budget=10000 --dump-dom"
    profile = f"--user-data-dir={tmp_path / 'profile'}"
    done = subprocess.run(
        [str(CHROMIUM), *flags.split(), *wait.split(), profile, (run / "report.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    panels = re.findall(r'<div class="panel[^"]*"[^>]*>(<[^>]*>)?', done.stdout)
    drawn = re.findall(r"<svg[^>]*class=\"marks\"", done.stdout)
    assert len(panels) == len(drawn) == 14
    assert done.stdout.count('class="charted"') == 7
    assert "CONSOLE" not in done.stderr


def test_a_page_of_unequal_placements_says_them_as_people_read_them(tmp_path: Path) -> None:
    folder = write_fake_run(tmp_path / "run", 2, snapshots=3, unequal=True)
    (folder / "test.json").write_text((folder / "test.json").read_text().replace('"verdict": "', '"verdict": "V: '))
    page = Page(write_report(folder).read_text(encoding="utf-8"))
    table = page.text[page.text.index("Pareto: nothing ranked") : page.text.index("Trained alone")]
    assert "h and w count the blocks at each resolution" in table
    assert table.count(" · w ") == 35  # all but the default
    assert "4,3,3" in table and "0x0_" not in table
    alone = page.text[page.text.index("Trained alone") : page.text.index("How the search went")]
    assert "h 7,2,1 · w 7,1,2" in alone and "0x0_" not in alone
