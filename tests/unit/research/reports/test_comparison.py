"""The page of a comparison: its numbers, its first sentence by hand, what it doubts, and what it refuses."""

from __future__ import annotations

import copy
import csv
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from fake_comparison import OUTSIDE, comparison, write_fake_comparison
from fake_run import HOSTILE

from poolsearch.errors import PoolsearchError
from poolsearch.reports.figures.theme import page_specs
from poolsearch.research.reports.comparison import show_comparison, write_comparison
from poolsearch.research.reports.comparison.caveats import warnings
from poolsearch.research.reports.comparison.findings import detail_sentence, finding_sentence
from poolsearch.research.reports.comparison.json_reader import JsonObject
from poolsearch.research.reports.comparison.read import comparison_of, read_comparison
from poolsearch.research.reports.comparison.sections import body, figures
from poolsearch.research.reports.comparison.values import Comparison

Json = dict[str, Any]


class Rows(HTMLParser):
    """The text of every row's cells, and the elements of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.tags: list[str] = []
        self._inside = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self._inside = True

    def handle_endtag(self, tag: str) -> None:
        self._inside &= tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.rows[-1][-1] += data

    def row(self, first: str, cells: int) -> list[str]:
        """The one row that begins with this cell and has so many of them, and is not of a single seed."""
        found = [row for row in self.rows if len(row) == cells and row[0] == first and not row[1].isdigit()]
        assert len(found) == 1, found
        return found[0]


def data_of(value: Json) -> Comparison:
    return comparison_of(JsonObject(Path("comparison.json"), "", json.loads(json.dumps(value))))


@pytest.fixture
def value() -> Json:
    return comparison()


def case_of(case: str, against: Json | None, **changes: Any) -> Json:
    """A case by hand, of which nothing is known but what is given."""
    nothing = dict.fromkeys(
        ("members", "epochs_total", "seeds", "work", "seconds", "truth", "tau", "rho", "given_macs")
    )
    return {"case": case, "name": case, "group": "g", "budget": "", "picks": [], "against": against} | nothing | changes


def small(*cases: Json, **changes: Any) -> Comparison:
    """A comparison by hand."""
    return data_of({"default": "4,3,3", "references": [], "cases": list(cases), "points": []} | changes)


def gap(mean: float, low: float, high: float, p: float) -> Json:
    return {"mean": mean, "low": low, "high": high, "p": p, "n": 3}


def test_every_number_of_a_case_stands_in_its_row(value: Json) -> None:
    page = Rows(body(data_of(value), {}))
    labels = {case.case: case.label for case in data_of(value).cases}
    for case in value["cases"]:
        _, found, truth, macs, kendall_tau, rho, beyond, regret, cost = page.row(labels[case["case"]] + case["case"], 9)
        assert all(pick["placement"] in found for pick in case["picks"])
        mean, n = case["truth"]["mean"], case["truth"]["n"]
        assert truth == f"{100 * mean:.2f}% ± {100 * case['truth']['std']:.2f} ({n})"
        assert macs == ("–" if case["macs_ratio"] is None else f"{case['macs_ratio']:.2f} ×")
        for shown, kind in ((kendall_tau, "tau"), (rho, "rho"), (beyond, "given_macs")):
            known = case[kind]["ranking"]
            wanted = f"{known['mean']:.2f}{known['low']:.2f} to {known['high']:.2f}" if known else "–"
            assert shown == wanted
        fifth = "–" if case["regret5"] is None else f"{100 * case['regret5']['mean']:.2f}"
        assert regret == f"{100 * case['regret1']['mean']:.2f} / {fifth}"
        assert cost.startswith(f"{case['work']:.2f}")
        against = page.row(labels[case["case"]], 4)
        for shown, rival in zip(against[1:], ("default", "macs", "random"), strict=True):
            gap = case["against"][rival]
            assert shown.startswith(f"{100 * gap['mean']:+.2f}" if gap else "–")


def test_references_have_rows_of_their_own(value: Json) -> None:
    page = Rows(body(data_of(value), {}))
    for entry in value["references"]:
        row = page.row(entry["name"], 9)
        assert row[1] == (entry["pick"] or "–")
        assert row[2].startswith(f"{100 * entry['truth']:.2f}%")
    assert page.row("default", 9)[2].endswith("± 0.30 (2)")


def test_every_seed_stands_in_the_details_and_what_is_outside_is_marked(value: Json) -> None:
    page = Rows(body(data_of(value), {}))
    seeds = [row for row in page.rows if len(row) == 7 and row[1].isdigit()]
    assert len(seeds) == sum(len(case["picks"]) for case in value["cases"])
    marked = [row for row in seeds if "outside" in row[2]]
    assert [row[:1] + row[2:5] for row in marked] == [["DARTS", f"{OUTSIDE}outside the space", "70.10%", "1"]]


def test_the_agreements_are_of_validation_scores_and_test(value: Json) -> None:
    value["cases"][0]["tau"]["test"] = {"mean": 0.1234, "std": 0.1, "n": 3, "low": -0.05, "high": 0.3}
    row = Rows(body(data_of(value), {})).row("spos, equal training", 10)
    agreement = value["cases"][0]["tau"]
    assert [cell[:4] for cell in row[1:4]] == [
        f"{agreement[order]['mean']:.2f}" for order in ("ranking", "score", "test")
    ]
    assert row[3] == "0.12-0.05 to 0.30" and row[6] == "–"
    assert row[7].startswith(f"{value['cases'][0]['given_macs']['ranking']['mean']:.2f}")


def test_the_sentence_by_hand() -> None:
    good, bad = gap(0.012, 0.004, 0.02, 0.001), gap(-0.01, -0.02, 0.0, 0.06)
    data = small(case_of("mixture", {"default": good, "macs": bad}), case_of("spos", {"default": bad, "macs": bad}))
    assert finding_sentence(data) == (
        "Better than the default 4,3,3 beyond chance: mixture (+1.20 points). None of the 2 methods is better than "
        "MACs alone beyond chance."
    )


def test_none_is_said_plainly() -> None:
    near = {"default": gap(0.001, -0.01, 0.012, 0.8), "macs": gap(0.0, -0.01, 0.01, 1.0)}
    both = small(case_of("a", near), case_of("b", near))
    assert (
        finding_sentence(both)
        == "None of the 2 methods is better than the default 4,3,3 or than MACs alone, beyond chance."
    )
    assert finding_sentence(small(case_of("a", near))).startswith("The one method is not better than")
    assert finding_sentence(small(case_of("a", {"default": near["default"], "macs": None}))) == (
        "The one method is not better than the default 4,3,3 beyond chance. How the methods compare with MACs alone is "
        "not known."
    )
    assert "Nothing can be said yet" in finding_sentence(small(case_of("a", None)))


def test_of_many_methods_one_is_not_called_better_for_one_lucky_interval() -> None:
    lucky, none = gap(0.01, 0.001, 0.02, 0.03), gap(0.0, -0.01, 0.01, 0.9)
    cases = [case_of("lucky", {"default": lucky}), *(case_of(f"m{i}", {"default": none}) for i in range(3))]
    data = small(*cases)  # 4 p values: 0.03 becomes 0.12
    assert "None of the 4 methods is better than the default" in finding_sentence(data)
    assert "only when looked at alone, without that adjustment: lucky (+1.00 points)" in detail_sentence(data)
    alone = small(cases[0])
    assert "lucky (+1.00 points)" in finding_sentence(alone) and "looked at alone" not in detail_sentence(alone)


def test_what_is_worse_beyond_chance_is_said() -> None:
    data = small(case_of("bad", {"default": gap(-0.03, -0.04, -0.02, 0.0001)}))
    assert "Worse than the default 4,3,3 beyond chance: bad (-3.00 points)." in detail_sentence(data)


def test_doubts_by_hand() -> None:
    picks = [{"seed": 0, "placement": "at 0,1,0,1", "restricted": False}]
    truth = {"seeds": 2, "noise": 0.004, "whole": False, "seed_tau": {"value": 0.9}, "placements": 7, "part": "val"}
    cheap = case_of("cheap", None, budget="equal", work=1.0, picks=picks)
    dear = case_of("dear", None, budget="equal", work=1.3)
    said = " ".join(warnings(small(cheap, dear, truth=truth, unfinished=["mcts seed 2"], notes=["look"])))
    for part in (
        "look", "mcts seed 2 (1 search)", "Fewer than 3 seeds", "cheap (1)", "dear (0)", "a part (7 placements)",
        "search-val half", "cheap: at 0,1,0,1", "cheap 1.00 whole trainings, dear 1.30 whole trainings",
        "a Kendall's tau of 0.90", "scatters by 0.40 points",
        "told apart from 0.78 points on",  # 1.96 * sqrt(2 / 2) * 0.4
    ):  # fmt: skip
        assert part in said
    like = case_of("dear", None, budget="equal", work=1.25)
    assert "cost equally" not in " ".join(warnings(small(cheap, like)))


def test_no_truth_but_of_what_was_picked(tmp_path: Path) -> None:
    data = read_comparison(write_fake_comparison(tmp_path, whole=False))
    assert [figure.name for figure in figures(data)] == ["found", "costs", "members"]
    text = body(data, {})
    assert "The truth is not known of the whole space, only of a part (9 placements)" in text
    assert "tau, validation" not in text
    assert "Better than the default 4,3,3 beyond chance" in finding_sentence(data)


def test_a_file_of_which_nothing_is_known_has_a_page(tmp_path: Path) -> None:
    (tmp_path / "comparison.json").write_text('{"cases": [], "references": [], "points": []}')
    data = read_comparison(tmp_path)
    assert figures(data) == []
    assert "Nothing can be said yet" in body(data, {})
    one = small(case_of("sweep", None))
    assert figures(one) == [] and "sweep" in body(one, {})


DAMAGES: list[tuple[Callable[[Json], Any], str]] = [
    (lambda v: v.pop("cases"), "cases should be a list and is nothing"),
    (lambda v: v["cases"][2].pop("case"), "cases[2].case should be a text and is nothing"),
    (lambda v: v["cases"][0]["picks"][1].update(truth="high"), "cases[0].picks[1].truth should be a number"),
    (lambda v: v["points"].insert(0, 7), "points[0] should be an object and is 7"),
    (lambda v: v["truth"].update(whole="yes"), "truth.whole should be true or false and is 'yes'"),
    (lambda v: v.update(seeds=2.5), "seeds should be a whole number and is 2.5"),
    (lambda v: v["cases"][0]["tau"].update(ranking=[1]), "cases[0].tau.ranking should be an object and is [1]"),
    (lambda v: v.update(notes=[3]), "notes should be a list of texts and is 3"),
]  # fmt: skip


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
def test_what_is_damaged_is_told_with_its_place(value: Json, damage: Callable[[Json], Any], said: str) -> None:
    broken = copy.deepcopy(value)
    damage(broken)
    with pytest.raises(PoolsearchError, match=re.escape(said)):
        data_of(broken)


def test_a_folder_without_a_comparison_is_told(tmp_path: Path) -> None:
    with pytest.raises(PoolsearchError, match=r"holds no comparison\.json: give a folder that poolsearch compare"):
        read_comparison(tmp_path)
    (tmp_path / "comparison.json").write_text("[1]")
    with pytest.raises(PoolsearchError, match="is a list, not an object"):
        read_comparison(tmp_path)


def test_infinite_numbers_are_not_known() -> None:
    value = {"references": [], "cases": [case_of("a", None, work=float("inf"))], "points": []}
    assert comparison_of(JsonObject(Path("c"), "", value)).cases[0].work is None


def test_cases_of_one_name_get_names_of_their_own(value: Json) -> None:
    labels = [case.label for case in data_of(value).cases]
    assert len(set(labels)) == len(labels)
    assert {"mixture of 2, own budget", "mixture of 2, equal training", "mixture of 4", "BSE"} <= set(labels)
    twice = small(case_of("a:epochs=1", None, name="a"), case_of("a:epochs=2", None, name="a"))
    assert [case.label for case in twice.cases] == ["a:epochs=1", "a:epochs=2"]


def datasets(data: Comparison, name: str) -> list[list[Json]]:
    figure = next(figure for figure in figures(data) if figure.name == name)
    return [rows for spec in page_specs(figure) for rows in spec["datasets"].values()]


def test_a_mixture_of_both_budgets_is_a_point_of_both_lines_and_variants_are_of_none(value: Json) -> None:
    points = next(rows for rows in datasets(data_of(value), "members") if "budget" in rows[0])
    lines = {(point["budget"], point["members"]): point["case"] for point in points}
    assert {budget: sorted(m for b, m in lines if b == budget) for budget, _ in lines} == {
        "own budget": [1, 2, 4, 8], "equal total training": [1, 2, 4, 8],
    }  # fmt: skip
    assert lines["own budget", 4] == lines["equal total training", 4] == "mixture of 4"
    assert lines["own budget", 1] == "spos, own budget"
    assert not any("linear" in case or "resolution" in case for case in lines.values())


def test_the_front_is_of_what_nothing_beats_at_its_cost() -> None:
    known = {"cheap": (1.0, 0.70), "beaten": (2.0, 0.69), "good": (3.0, 0.75), "dear": (9.0, 0.75)}
    cases = [case_of(k, None, work=w, truth={"mean": t, "std": None, "n": 1}) for k, (w, t) in known.items()]
    points = next(rows for rows in datasets(small(*cases), "costs") if "front" in rows[0] and len(rows) == 4)
    assert {point["case"]: point["front"] for point in points} == {
        "cheap": True, "beaten": False, "good": True, "dear": False,
    }  # fmt: skip


def test_a_panel_for_each_case_with_its_kendall_tau_points_and_the_default(value: Json) -> None:
    figure = next(figure for figure in figures(data_of(value)) if figure.name == "panels")
    assert len(figure.panels) == 12 and figure.columns == 4  # all but DARTS, which ranks nothing
    first = page_specs(figure)[0]
    assert first["title"]["subtitle"] == "spos, equal training"
    assert first["title"]["text"] == f"Kendall's tau {value['cases'][0]['tau']['ranking']['mean']:.2f}"
    points, ring = sorted(first["datasets"].values(), key=len, reverse=True)
    assert len(points) == 36 * 3
    assert {(p["seed"], p["placement"]) for p in ring} == {(str(seed), "4,3,3") for seed in range(3)}
    wanted = {(str(p["seed"]), p["placement"]): p["val"] for p in value["points"] if p["case"] == "spos:epochs=24"}
    assert {(p["seed"], p["placement"]): p["val"] for p in points} == wanted


def test_of_many_cases_the_mixtures_have_panels_and_the_rest_is_named(value: Json) -> None:
    more = [point | {"case": "extra"} for point in value["points"] if point["case"] == "bse:epochs=24"]
    value["points"] += more
    value["cases"].insert(0, copy.deepcopy(value["cases"][9]) | {"case": "extra", "name": "extra"})
    figure = next(figure for figure in figures(data_of(value)) if figure.name == "panels")
    assert len(figure.panels) == 12
    assert figure.caption.endswith("Left out: sweep.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison with hostile names, written whole."""
    value = comparison()
    value["cases"] = [value["cases"][i] for i in (0, 4, 11)]
    value["cases"][0] |= {"name": HOSTILE, "verdict": HOSTILE, "group": HOSTILE}
    value |= {"points": value["points"][:108], "data": HOSTILE, "notes": [HOSTILE], "unfinished": [HOSTILE]}
    value["truth"]["source"] = HOSTILE
    folder = tmp_path_factory.mktemp("comparison")
    (folder / "comparison.json").write_text(json.dumps(value))
    write_comparison(folder)
    return folder


def test_hostile_names_stay_text(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Rows(html)
    assert "b" not in page.tags
    assert page.tags.count("script") == 3
    assert HOSTILE not in html and "</script><script>alert" not in html
    assert html.count("&lt;/script&gt;") >= 6


def test_the_folder_holds_page_figures_and_table(folder: Path) -> None:
    names = sorted(path.stem for path in (folder / "figures").glob("*.svg"))
    assert names == ["costs", "found", "members", "panels", "taus"]
    assert sorted(path.stem for path in (folder / "figures").glob("*.png")) == names
    with (folder / "comparison.csv").open(newline="", encoding="utf-8") as handle:
        rows = list(csv.DictReader(handle))
    cases = json.loads((folder / "comparison.json").read_text())["cases"]
    assert [row["case"] for row in rows] == [case["case"] for case in cases]
    for row, case in zip(rows, cases, strict=True):
        assert float(row["truth"]) == case["truth"]["mean"]
        assert row["found"].split("; ") == [pick["placement"] for pick in case["picks"]]
        assert float(row["against_macs_p"]) == case["against"]["macs"]["p"] and row["against_random"] == ""
        agreement = case["tau"]["ranking"]
        assert [row["tau_ranking"], row["rho_test_high"]] == ["" if agreement is None else str(agreement["mean"]), ""]
        beyond = case["given_macs"]["ranking"]
        assert row["given_macs_ranking"] == ("" if beyond is None else str(beyond["mean"]))
    assert rows[2]["outside"] == OUTSIDE


def test_the_terminal_shows_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "220")
    folder = write_fake_comparison(tmp_path)
    show_comparison(folder)
    said = capsys.readouterr().out
    data = read_comparison(folder)
    assert finding_sentence(data) in said and all(doubt in said for doubt in warnings(data))
    line = next(line for line in said.splitlines() if line.strip().startswith("mixture of 4 "))
    case = next(case for case in data.cases if case.label == "mixture of 4")
    assert f"{case.truth.mean:.2%}" in line and f"{case.kendall_tau['ranking'].value:.2f}" in line
    assert "Report:" not in said  # none was written
