"""The page, the figure and the terminal of a ranking by prediction, written by the letter of docs/architecture.md."""

import csv
import io
import json
import re

import pytest
from fake_run import write_fake_run

from poolsearch.reports import write_report
from poolsearch.reports.data.run_data import read_run
from poolsearch.reports.figures.ladder import ladder
from poolsearch.reports.figures.predictions import predictions
from poolsearch.reports.figures.theme import file_spec
from poolsearch.reports.page.tables import by_halvings
from poolsearch.reports.terminal import show
from poolsearch.reports.text.caveats import warnings
from poolsearch.reports.text.prediction_notes import learned_sentence
from poolsearch.reports.text.verdict_text import verdict

FIRST = {"placement": "5,3,2", "mean": 0.62, "low": 0.11, "high": 1.2}


def predicted_run(folder, stages=("search", "rank"), trust=0.83, low=FIRST["low"], trials=4, left_out=0):
    """A run that is ranked by prediction: 5,3,2 first, the default second; some learned from nothing."""
    write_fake_run(folder, stages=stages)
    with (folder / "ranking.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    rows.sort(key=lambda row: (row["placement"] != "5,3,2", row["is_default"] != "True"))
    for rank, row in enumerate(rows, 1):
        mean = {1: FIRST["mean"], 2: 0.0}.get(rank, -0.1 * rank)
        ends = (low, FIRST["high"]) if rank == 1 else (0.0, 0.0) if rank == 2 else (mean - 0.7, mean + 0.7)
        values = (mean, *ends) if rank <= len(rows) - left_out else ("", "", "")
        named = dict(zip(("prediction", "prediction_low", "prediction_high"), values, strict=True))
        count = {1: trials - 2, 2: 2}.get(rank, 0) if trials else 0
        row |= {"rank": rank, "val_metric": row["val_accuracy"]} | named | {"trials": count}
    with (folder / "ranking.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    summary = json.loads((folder / "ranking.json").read_text())
    summary |= {"rank_by": "prediction", "against": "4,3,3", "trust": trust, "noise": 0.3 if trials else None}
    (folder / "ranking.json").write_text(json.dumps(summary | {"members": "mean", "trials": trials}))
    made = [
        {
            "placement": "4,3,3" if number < 2 else "5,3,2", "seed": number % 2, "round": 1 + number // 2,
            "why": "default" if number < 2 else "promising", "gain": 0.4, "limit": None,
            "before": {"mean": 0.5, "low": -1.0, "high": 2.0},
            "after": {"mean": 0.6, "low": 0.1, "high": 1.2}, "value": 0.9 + 0.003 * number, "low": 0.89, "high": 0.92,
        }
        for number in range(trials)
    ]  # fmt: skip
    record = {"at_once": 2, "epochs": 60, "against": "4,3,3", "trials": made, "whole_trainings": trials * 0.5}
    (folder / "trials.json").write_text(json.dumps(record))
    return folder


def text_of(page):
    html = re.sub(r"(?s)<script.*?</script>|<style.*?</style>", "", page.read_text())
    return re.sub(r"\s+", " ", re.sub(r"(?s)<[^>]*>", " ", html))


def test_the_sentence_tells_the_prediction_and_what_it_rests_on(tmp_path):
    data = read_run(predicted_run(tmp_path / "run"))
    said = verdict(data)
    assert "First by prediction: 5,3,2 with +0.62 (+0.11 to +1.20) points against 4,3,3" in said.sentence
    assert "It learned from 4 trainings of 2 placements alone, on search-train" in said.detail
    assert "probability that the scores of the supernets say anything here is 83%" in said.detail
    assert "two trainings of one placement differ by about 0.42 points" in said.detail


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"low": -0.2}, "The interval of the prediction for 5,3,2 (-0.20 to +1.20 points) includes zero"),
        ({"trust": 0.2}, "the scores of the search say little here (probability 20%)"),
        ({"trials": 0}, "The prediction learned from no training in this run"),
        ({"left_out": 6}, "6 placements were not predicted and stand last: the model holds 30 of 36"),
    ],
    ids=str,
)
def test_doubts_are_those_of_a_prediction(tmp_path, changes, said):
    firm = warnings(read_run(predicted_run(tmp_path / "firm")))
    doubted = warnings(read_run(predicted_run(tmp_path / "doubted", **changes)))
    assert not any(said in text for text in firm)
    assert any(said in text for text in doubted)
    assert not any("validation intervals" in text for text in firm + doubted)


def test_the_figure_has_every_training_on_its_prediction(tmp_path):
    figure = predictions(read_run(predicted_run(tmp_path / "run")))
    assert figure is not None and len(figure.panels) == 2
    spec = file_spec(figure)
    values = [spec["datasets"][layer["data"]["name"]] for layer in spec["concat"][0]["layer"]]
    dots = values[2]
    # the default had 0.900 and 0.903: 90.15 on the mean
    assert [round(dot["points"], 2) for dot in dots] == [-0.15, 0.15, 0.45, 0.75]
    assert {line["placement"] for line in values[0]} >= {"4,3,3", "5,3,2"}
    assert "83%" in figure.caption


def test_there_is_no_such_figure_of_another_ranking(tmp_path):
    data = read_run(write_fake_run(tmp_path / "run"))
    assert predictions(data) is None and learned_sentence(data) == ""


def test_the_first_of_each_number_of_halvings_is_told_where_there_are_several(tmp_path):
    folder = predicted_run(tmp_path / "run")
    assert by_halvings(read_run(folder)) == ""
    record = json.loads((folder / "run.json").read_text())
    record["settings"].setdefault("net", {})["halvings"] = "1-3"
    (folder / "run.json").write_text(json.dumps(record))
    text = (folder / "ranking.csv").read_text()
    rows = [*csv.DictReader(io.StringIO(text))]
    for row, placement in zip(rows[4:6], ("4,3,2,1", "5,5"), strict=True):
        row["placement"] = placement
    with (folder / "ranking.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    told = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", by_halvings(read_run(folder))))
    assert re.search(r" 1 1 5,5 6 .* 2 34 5,3,2 1 .* 3 1 4,3,2,1 5 ", told)


@pytest.mark.parametrize("stages", [("search", "rank"), ("search", "rank", "retrain", "test")], ids=len)
def test_page_and_terminal_show_prediction_and_trials(tmp_path, stages, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    folder = predicted_run(tmp_path / "run", stages)
    page = text_of(write_report(folder))
    assert "prediction trials validation accuracy score" in page and "+0.62 +0.11 to +1.20" in page
    assert "Ranked by prediction: what a training alone is expected to reach on validation" in page
    assert ("The winner was fixed by prediction" in page) == ("test" in stages)
    show(folder)
    printed = capsys.readouterr().out
    assert "Ranking by prediction (36 placements)" in printed and "+0.11 to +1.20" in printed
    assert "It learned from 4 trainings" in printed


def test_the_ladder_shows_predictions_where_nothing_was_evaluated(tmp_path):
    folder = predicted_run(tmp_path / "run")
    with (folder / "ranking.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    for row in rows:  # as without supernets
        row |= dict.fromkeys(("val_accuracy", "val_metric", "low", "high", "score", "member"), "")
    with (folder / "ranking.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    figure = ladder(read_run(folder))
    texts = json.dumps(file_spec(figure)["datasets"])
    assert "predicted points" in figure.caption
    assert "+0.62" in texts and "+0.00" in texts and "\\u2013" not in texts


def test_a_page_does_not_say_where_images_and_networks_lay(tmp_path):
    folder = predicted_run(tmp_path / "run")
    record = json.loads((folder / "run.json").read_text())
    record["data"]["name"], record["space"]["net"] = "/home/me/photos", "/home/me/nets.py:make"
    (folder / "run.json").write_text(json.dumps(record))
    text = text_of(write_report(folder))
    assert "nets.py:make on photos" in text
