"""What stages leave, read by others: whole, and of the training whose folder it lies in."""

import json
import sys

import pytest

from poolsearch.errors import PoolsearchError
from poolsearch.storage import files, run_dir, stage_results


@pytest.fixture
def run(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "ranking.json").write_text('{"placements": 2}')
    return run_dir.RunDir(tmp_path)


def ranking(*rows):
    return "rank,placement,number,macs,macs_ratio\n" + "".join(
        f'{rank},"4,3,3",7,{macs},{ratio}\n' for rank, macs, ratio in rows
    )


def test_a_whole_ranking_is_read(run):
    run.ranking.write_text(ranking((1, 30, 1.0), (2, 20, 0.5)))
    assert [row["rank"] for row in stage_results.read_ranking(run)] == ["1", "2"]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "no column rank"),
        (ranking(), "holds no placement"),
        (ranking((1, 30, 1.0)), r"it has 1 placements, and by ranking\.json 2"),
        (ranking((2, 20, 0.5)), "line 2 has the rank '2', not 1"),
        (ranking((1, 30, 1.0), (3, 20, 0.5)), "line 3 has the rank '3', not 2"),
        (ranking((1, 30, 1.0), (2, 20, "")), "line 3: macs_ratio is ''"),
        (ranking((1, 30, 1.0), (2, 20, "nan")), "macs_ratio is 'nan'"),
        (ranking((1, 30, 1.0), (2, 20, "1e999")), "macs_ratio is '1e999'"),
        (ranking((1, 30, 1.0), (2, 20, 0.5))[:-5], "line 3 has 4 cells"),
        (ranking((1, 30, 1.0)) + '2,"4,3', "line 3|unexpected end of data"),
        ("rank,rank\n\0\n", "no column|NUL"),
    ],
)  # fmt: skip
def test_a_ranking_that_is_not_whole_is_refused_by_name(run, text, told):
    run.ranking.write_text(text)
    with pytest.raises(PoolsearchError, match=rf"ranking\.csv is damaged \(.*({told})"):
        stage_results.read_ranking(run)


@pytest.fixture
def trial(run):
    folder = run.retrain / "4,3,3@48" / "1"
    folder.mkdir(parents=True)
    return folder


METRICS = {"placement": "4,3,3", "seed": 1, "epochs": 1, "train_loss": None, "image_size": 48}


def test_metrics_of_the_training_in_its_folder_are_read(trial):
    (trial / "metrics.json").write_text(json.dumps(METRICS))
    assert stage_results.read_metrics(trial) == METRICS


@pytest.mark.parametrize(
    "change", [{"placement": "5,3,2"}, {"seed": 0}, {"image_size": 32}, {"epochs": "1"}, {"seed": None}]
)
def test_metrics_of_another_training_are_refused_with_what_to_do(trial, change):
    (trial / "metrics.json").write_text(json.dumps(METRICS | change))
    with pytest.raises(PoolsearchError, match=rf"metrics\.json is damaged.*Delete the folder {trial}"):
        stage_results.read_metrics(trial)


@pytest.mark.parametrize("damage", ["{}", "[]", "", "null", '{"opened": null}', '{"opened": "2026", "answers": {}}'])
def test_a_damaged_opening_is_refused_as_the_split_is_opened_once(run, damage):
    run.test.write_text(damage)
    with pytest.raises(PoolsearchError, match=r"test\.json is damaged.*Restore it: the test split is opened once"):
        stage_results.read_opening(run)


def test_where_nothing_was_opened_there_is_no_opening(run):
    assert stage_results.read_opening(run) == {}


@pytest.mark.parametrize(
    "damage",
    [
        b"[" * 200_000, b'{"a":' * 200_000, b"1" + b"0" * 5000, b"1e999", b"NaN", b"-Infinity", b"\xff\xfe", b"",
        b"{}{}",         b'"\xed\xa0\x80"', b"\0",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_json_is_named_and_neither_a_traceback_nor_a_value(run, damage):
    if damage.startswith(b"1") and damage != b"1e999" and not hasattr(sys, "get_int_max_str_digits"):
        pytest.skip("this Python reads integers of any length")
    run.test.write_bytes(damage)
    with pytest.raises(PoolsearchError, match=r"test\.json is damaged"):
        files.read_json(run.test)


def test_a_file_that_is_too_large_is_not_read(run):
    run.test.write_text(" " * 20)
    with pytest.raises(PoolsearchError, match=r"test\.json is damaged \(it has more than"):
        files.read_bytes(run.test, most=19)
    assert files.read_bytes(run.test, most=20)
